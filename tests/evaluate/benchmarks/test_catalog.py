import pytest

pytest.importorskip("lm_eval")

from luthier.core.errors import DataError, RecipeError
from luthier.evaluate.benchmarks.catalog import Catalog


@pytest.mark.parametrize(
    ("name", "count", "dataset", "splits"),
    [
        ("gsm8k", 1, "openai/gsm8k", ["test", "train"]),
        ("bbh", 27, "SaylorTwift/bbh", ["test"]),
        ("mmlu", 57, "cais/mmlu", ["test", "dev"]),
        ("ai2_arc", 2, "allenai/ai2_arc", ["test", "train", "validation"]),
        ("winogrande", 1, "allenai/winogrande", ["validation", "train"]),
    ],
)
def test_a_name_stands_for_its_tasks(name, count, dataset, splits):
    leaves = Catalog().leaves(name)
    assert (len(leaves), {leaf.dataset for leaf in leaves}) == (count, {dataset})
    assert leaves[0].splits == splits


def test_a_group_of_groups_and_of_other_folders_is_followed():
    # The first Open LLM Leaderboard: ARC, HellaSwag, TruthfulQA, MMLU (57), WinoGrande, GSM8K.
    names = [leaf.name for leaf in Catalog().leaves("openllm")]
    assert len(names) == 57 + 7
    assert {"arc_challenge", "hellaswag", "truthfulqa_mc1", "winogrande", "gsm8k", "mmlu_anatomy"} < {*names}


def test_a_wrong_name_is_answered_with_the_right_one():
    with pytest.raises(RecipeError) as error:
        Catalog().leaves("helaswag")
    assert error.value.hint == "did you mean `hellaswag`?"
    assert error.value.place == "evaluate.benchmarks"


def test_what_runs_programs_of_a_model_is_refused():
    with pytest.raises(RecipeError, match="`humaneval` runs programs that the model wrote"):
        Catalog().leaves("humaneval")


def test_tasks_of_the_users_own_are_known_and_python_in_them_is_not_run(tmp_path):
    (tmp_path / "mine.py").write_text("raise SystemExit('this was run')\n")
    (tmp_path / "mine.yaml").write_text(
        "task: mine\ntag: [ours]\ndataset_path: json\ntest_split: test\nprocess_docs: !function mine.rows\n"
    )
    (leaf,) = Catalog([str(tmp_path)]).leaves("ours")
    assert (leaf.name, leaf.asked, leaf.config["process_docs"]) == ("mine", "test", "mine.rows")


def test_a_folder_of_tasks_must_be_there(tmp_path):
    with pytest.raises(DataError, match="no such folder of tasks"):
        Catalog([str(tmp_path / "nowhere")])
