"""The unions of the recipe: every named method points to code that is there."""

import re

import pytest

from luthier.recipe.explain import every_key
from luthier.recipe.options import Method, locate

METHODS = {
    ".".join((*key.short, name)): method
    for key in every_key()
    for name, method in (key.shape.item or key.shape).methods.items()
}


def subclasses(of):
    return {below for each in of.__subclasses__() for below in {each, *subclasses(each)}}


def test_every_method_is_in_a_union():
    ours = {method for method in subclasses(Method) if method.__module__.startswith("luthier.recipe.")}
    assert set(METHODS.values()) == ours


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_pointer_has_the_form_module_colon_object(method):
    assert re.fullmatch(r"luthier(\.[a-z_][a-z0-9_]*)+:[A-Za-z_][A-Za-z0-9_]*", method.implementation)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_pointer_leads_to_code(method):
    assert callable(locate(method()))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_method_says_what_it_does(method):
    assert method.__doc__
    assert method.__doc__ != Method.__doc__
