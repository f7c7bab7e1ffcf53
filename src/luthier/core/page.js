"use strict";
// Shows a list of rows a page at a time, those that match what was chosen. Without it all rows are there, in a table.
const ROWS_A_PAGE = 25;
for (const list of document.querySelectorAll(".records")) {
  const [controls, pages] = [list.querySelector(".controls"), list.querySelector(".pages")];
  const [earlier, later] = pages.querySelectorAll("button");
  const words = controls.querySelector("input");
  const choices = [...controls.querySelectorAll("select")];
  const rows = [...list.querySelectorAll("tbody tr")].map((row) => ({ row, text: row.textContent.toLowerCase() }));
  let page = 0;
  const show = () => {
    const wanted = words.value.toLowerCase();
    const fits = ({ row, text }) =>
      choices.every(({ value, dataset }) => value === "" || row.dataset[dataset.by] === value) && text.includes(wanted);
    const found = rows.filter(fits);
    const last = Math.max(0, Math.ceil(found.length / ROWS_A_PAGE) - 1);
    page = Math.min(Math.max(page, 0), last);
    const start = page * ROWS_A_PAGE;
    const shown = found.slice(start, start + ROWS_A_PAGE);
    for (const { row } of rows) row.hidden = true;
    for (const { row } of shown) row.hidden = false;
    const many = found.length.toLocaleString("en");
    const counted = found.length === 1 ? "1 row" : `${many} rows`;
    pages.querySelector("span").textContent = shown.length
      ? `${(start + 1).toLocaleString("en")} to ${(start + shown.length).toLocaleString("en")} of ${counted}`
      : "no row matches";
    earlier.disabled = page === 0;
    later.disabled = page === last;
  };
  const choose = () => {
    page = 0;
    show();
  };
  words.addEventListener("input", choose);
  for (const choice of choices) choice.addEventListener("change", choose);
  for (const button of [earlier, later])
    button.addEventListener("click", () => {
      page += Number(button.dataset.turn);
      show();
    });
  controls.hidden = pages.hidden = false;
  show();
}
