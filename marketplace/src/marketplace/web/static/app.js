// Small conveniences over pages that work without them: local times, copying, sending a form once, charts.
(function () {
  "use strict";

  // The time zone the reader has chosen; the browser's own without one, or where the browser does not know it.
  function chosenZone() {
    var zone = document.body.dataset.timeZone;
    try {
      return zone && new Intl.DateTimeFormat("en", { timeZone: zone }).resolvedOptions().timeZone;
    } catch (unknown) {
      return undefined;
    }
  }

  function localTimes(root) {
    var zone = chosenZone() || undefined;
    var language = document.documentElement.lang;
    root.querySelectorAll("time[datetime]").forEach(function (element) {
      if (element.dataset.shown) return;
      var date = new Date(element.getAttribute("datetime"));
      if (isNaN(date)) return;
      var clock = element.closest(".joblog") !== null;
      element.textContent = clock
        ? date.toLocaleTimeString(language, { hour12: false, timeZone: zone })
        : date.toLocaleString(language, { dateStyle: "medium", timeStyle: "short", hour12: false, timeZone: zone });
      element.title = element.getAttribute("datetime");
      element.dataset.shown = "1";
    });
  }

  function submitOnce(event) {
    var form = event.target;
    if (form.method !== "post" || event.defaultPrevented || form.hasAttribute("hx-post")) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    form.querySelectorAll("button[type=submit]").forEach(function (button) { button.classList.add("disabled"); });
  }

  function copy(event) {
    var button = event.target.closest("[data-copy]");
    if (!button || !navigator.clipboard) return;
    var source = document.getElementById(button.dataset.copy);
    navigator.clipboard.writeText(source.textContent.trim()).then(function () {
      var before = button.textContent;
      button.textContent = button.dataset.copied;
      setTimeout(function () { button.textContent = before; }, 1500);
    });
  }

  function toggleAll(event) {
    var box = event.target.closest("[data-toggle-all]");
    if (!box) return;
    document.querySelectorAll(box.dataset.toggleAll).forEach(function (other) {
      if (!other.closest("[hidden]")) other.checked = box.checked;
    });
  }

  // narrows a list of boxes to those whose text holds what is typed
  function narrow(event) {
    var field = event.target.closest("[data-filter]");
    if (!field) return;
    var wanted = field.value.trim().toLowerCase();
    document.querySelectorAll(field.dataset.filter).forEach(function (item) {
      item.hidden = wanted !== "" && item.textContent.toLowerCase().indexOf(wanted) < 0;
    });
  }

  // details that somebody opened stay open when a poll brings the same part again
  var opened = [];
  function remember(event) {
    opened = Array.prototype.map.call((event.detail.target || document).querySelectorAll("details[id][open]"), function (one) { return one.id; });
  }
  function restore() {
    opened.forEach(function (id) { var one = document.getElementById(id); if (one) one.open = true; });
    opened = [];
  }

  function everything(root) {
    localTimes(root);
    var log = root.querySelector(".joblog");
    if (log) log.scrollTop = log.scrollHeight;
    if (window.shuyanCharts) window.shuyanCharts(root);
  }

  document.addEventListener("submit", submitOnce);
  document.addEventListener("click", copy);
  document.addEventListener("input", narrow);
  document.addEventListener("keydown", function (event) {
    if (event.key === "Enter" && event.target.closest("[data-filter]")) event.preventDefault();
  });
  document.addEventListener("htmx:beforeSwap", remember);
  document.addEventListener("htmx:afterSwap", restore);
  document.addEventListener("change", function (event) {
    toggleAll(event);
    if (event.target.matches("[data-submit-on-change]")) event.target.form.requestSubmit();
  });
  window.addEventListener("pageshow", function (event) {
    if (event.persisted) document.querySelectorAll("form[data-sent]").forEach(function (form) { delete form.dataset.sent; });
  });
  document.addEventListener("htmx:afterSwap", function (event) { everything(event.detail.target.parentNode || document); });
  // a fragment that could not be had is said where it would have stood; a poll just tries again
  function failed(event) {
    var target = event.detail.target;
    if (!target || event.detail.elt.hasAttribute("hx-get")) return;
    var note = document.createElement("div");
    note.className = "alert alert-danger m-3";
    note.setAttribute("role", "alert");
    note.textContent = document.body.dataset.failed;
    target.replaceChildren(note);
  }
  document.addEventListener("htmx:responseError", failed);
  document.addEventListener("htmx:sendError", failed);
  everything(document);
})();
