// Uses the page as a reader would, and writes what it found into the element "out" as JSON.
"use strict";
const frame = document.getElementById("frame");

function use(d, w) {
  const found = {}, rows = () => [...d.querySelectorAll("#rows tr[data-i]")];
  const heads = [...d.querySelectorAll("thead th")], four = heads.findIndex(one => one.textContent === "4 bits");
  const value = row => row.cells[four].dataset.v === "" ? null : +row.cells[four].dataset.v;
  const names = () => rows().filter(row => !row.hidden).map(row => row.cells[0].textContent);
  const choose = (id, chosen) => {
    const one = d.getElementById(id);
    one.value = chosen;
    for (const event of ["change", "input"]) one.dispatchEvent(new w.Event(event));
  };
  heads[four].firstChild.click();
  found.up = rows().map(value);
  heads[four].firstChild.click();
  found.down = rows().map(value);
  heads[0].firstChild.click();
  found.names = names();
  const before = rows().map(value);
  choose("granularity", "tensor");
  found.changed = rows().some((row, i) => value(row) !== before[i]);
  choose("name", "FC");
  found.filtered = names();
  choose("name", "");
  choose("least", "20");
  found.under = rows().filter(row => !row.hidden).map(value);
  choose("least", "");

  const press = () => rows().forEach(row => row.querySelector("button").click());
  press();
  found.panels = [...d.querySelectorAll(".panel")].map(panel => panel.querySelectorAll("svg").length);
  found.bars = d.querySelectorAll(".panel rect.bar").length;
  found.far = d.querySelectorAll(".panel path.far").length;
  for (const one of d.querySelectorAll(".panel select[aria-label=bits]")) {
    one.value = 8;
    one.dispatchEvent(new w.Event("change"));
  }
  found.told = [...d.querySelectorAll(".panel text")].map(one => one.textContent).filter(one => one.includes("measured"));
  const drawn = [...d.querySelectorAll("svg, svg *")].flatMap(one => [...one.attributes]).map(one => one.value);
  found.wrong = drawn.filter(told => /NaN|undefined|Infinity/.test(told));
  found.share = d.querySelectorAll("#share g.share rect").length;
  found.curve = d.querySelectorAll("#curve path.line").length;
  found.chosen = d.querySelectorAll("#curve circle.chosen").length;
  found.wide = d.documentElement.scrollWidth - w.innerWidth;
  found.panelWide = Math.max(...[...d.querySelectorAll(".panel")].map(one => one.offsetWidth)) - w.innerWidth;
  press();
  found.closed = d.querySelectorAll(".panel").length;
  return found;
}

frame.onload = () => {
  let found;
  try {
    found = use(frame.contentDocument, frame.contentWindow);
  } catch (error) {
    found = {error: `${error} ${error.stack}`};
  }
  document.getElementById("out").textContent = JSON.stringify(found);
};
frame.srcdoc = page;
