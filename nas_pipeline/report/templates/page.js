"use strict";
(function () {
  var root = document.documentElement, button = document.getElementById("theme");
  function dark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  button.hidden = false;
  button.addEventListener("click", function () { root.dataset.theme = dark() ? "light" : "dark"; });
  addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (details) { details.open = true; });
  });

  var panel = document.getElementById("panel"), content = document.getElementById("candidates");
  if (!panel || !content) { return; }
  var known = JSON.parse(content.textContent);
  function add(parent, tag, text, name) {
    var element = document.createElement(tag);
    element.textContent = text;
    if (name) { element.className = name; }
    parent.appendChild(element);
    return element;
  }
  function show(key) {
    var trial = known.trials[key];
    if (!trial) { return; }
    panel.textContent = "";
    add(panel, "h3", trial.label);
    if (trial.over) { add(panel, "p", "above the bound: " + trial.over, "small t-bad"); }
    var blocks = known.blocks[trial.id];
    if (blocks) {
      var most = Math.max.apply(null, blocks.map(function (b) { return b[4]; }).concat(1));
      blocks.forEach(function (b) {
        var row = add(panel, "div", "", "block");
        add(row, "span", b[0]).title = b[0];
        var box = add(row, "div", "");
        box.style.setProperty("--p", (100 * b[4] / most).toFixed(1) + "%");
        box.title = b[3].toLocaleString("en") + " parameters, " + b[4].toLocaleString("en") + " MACs";
        add(box, "b", b[1]);
        add(box, "i", b[2]);
      });
      add(panel, "p", "Shaded: MACs of the block relative to the largest block.", "small soft");
    }
    add(panel, "p", trial.genes || "no decisions recorded", "small soft");
  }
  function select(event) {
    var mark = event.target.closest && event.target.closest("[data-key]");
    if (mark) { show(mark.dataset.key); }
  }
  ["pointerover", "focusin", "click"].forEach(function (kind) { document.addEventListener(kind, select); });
  document.addEventListener("keydown", function (event) {
    if (event.key === "Enter" || event.key === " ") { select(event); }
  });
  if (panel.dataset.first) { show(panel.dataset.first); }
})();
