"use strict";
(() => {
  const pictures = JSON.parse(document.getElementById("pictures").textContent);
  const dialog = document.getElementById("flips");

  function element(name, className, ...children) {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...children);
    return made;
  }

  // Sorting: first click the better end first, second click the other, third click the order of the table.
  const OTHER = { ascending: "descending", descending: "ascending" };

  function nextOrder(button, current) {
    if (!current) return button.dataset.first;
    return current === button.dataset.first ? OTHER[current] : null;
  }

  function valueOf(cell, kind) {
    if (kind === "word") return cell.textContent.trim();
    return cell.dataset.sort === "" ? null : Number(cell.dataset.sort);
  }

  function compare(a, b, kind) {
    return kind === "word" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
  }

  function sort(button) {
    const head = button.closest("th");
    const kind = button.dataset.kind;
    const order = nextOrder(button, head.getAttribute("aria-sort"));
    const body = head.closest("table").tBodies[0];
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    if (order) head.setAttribute("aria-sort", order);
    const rows = [...body.rows].sort((a, b) => a.dataset.place - b.dataset.place);
    if (order) {
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => valueOf(row.cells[head.cellIndex], kind);
      const missing = (value) => value === null || value === "";
      rows.sort((first, second) => {
        const [a, b] = [key(first), key(second)];
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        return sign * compare(a, b, kind);
      });
    }
    body.append(...rows);
  }

  // The images that flipped.
  function reading(name, text, className) {
    return [element("dt", "", name), element("dd", className, text === "" ? "(nothing)" : text)];
  }

  function example(flip, rowWins) {
    const frame = element("div", "frame");
    const place = flip.lmdb === "." ? "" : `/${flip.lmdb}`;
    if (flip.picture) {
      const image = element("img");
      image.src = pictures[flip.picture];
      image.alt = `${flip.benchmark}${place} ${flip.index}: ${flip.label}`;
      frame.append(image);
    } else {
      frame.append(element("small", "", flip.unseen));
    }
    const words = element(
      "dl",
      "",
      ...reading("label", flip.label, ""),
      ...reading("this row", flip.ours, rowWins ? "right" : "wrong"),
      ...reading("baseline", flip.baseline, rowWins ? "wrong" : "right"),
    );
    const item = element("li", "", frame, words);
    item.title = `${flip.benchmark}${place}, image ${flip.index}`;
    return item;
  }

  function group(title, total, shown, rowWins) {
    const count = total > shown.length ? `${shown.length} of ${total} shown, chosen by a fixed shuffle` : `${total}`;
    const heading = element("h3", "", title, " ", element("small", "", count));
    const list = element("ul", "flips", ...shown.map((flip) => example(flip, rowWins)));
    return total ? [heading, list] : [heading];
  }

  function open(cell) {
    const close = element("button", "close", "\u00d7");
    close.type = "button";
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => dialog.close());
    const title = element("h2", "", `${cell.row}, ${cell.column}`);
    title.id = "flips-title";
    const same = cell.n - cell.won - cell.lost;
    dialog.replaceChildren(
      element("header", "", title, close),
      element("p", "facts", `${cell.row}: ${cell.value}`),
      element("p", "facts", `${cell.baseline}: ${cell.baseline_value}`),
      element("p", "", `Of ${cell.n} images of one seed, ${cell.won} are won, ${cell.lost} lost, and ${same} end the same.`),
      ...group(`Won: ${cell.row} reads them, ${cell.baseline} does not`, cell.won, cell.won_shown, true),
      ...group(`Lost: ${cell.baseline} reads them, ${cell.row} does not`, cell.lost, cell.lost_shown, false),
    );
    dialog.showModal();
    dialog.scrollTop = 0;
  }

  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });

  for (const study of document.querySelectorAll(".study")) {
    const cells = JSON.parse(study.querySelector(".flip-data").textContent);
    for (const body of study.querySelectorAll("tbody")) {
      [...body.rows].forEach((row, place) => (row.dataset.place = place));
    }
    study.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button?.matches(".sort")) sort(button);
      if (button?.matches(".open")) open(cells[button.dataset.flips]);
    });
    study.querySelector(".show-published")?.addEventListener("change", (event) => {
      study.classList.toggle("hide-published", !event.target.checked);
    });
  }
})();
