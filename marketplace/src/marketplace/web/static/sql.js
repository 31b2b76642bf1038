// The query editor: highlighting, completion, inserting names, and marking the place of a refusal.
// Without it the page is a plain text field that works.
(function () {
  "use strict";
  var area = document.querySelector("textarea[data-sql]");
  if (!area || !window.CodeMirror) return;
  var schema = JSON.parse(area.dataset.schema);
  var WORDS = ("select from where group by having order limit offset with as and or not in between like ilike is null case " +
    "when then else end inner left join on using distinct filter all asc desc nulls first last true false cast").split(" ");
  var FUNCTIONS = ("count count_if sum avg min max var_samp var_pop stddev_samp stddev_pop covar_samp covar_pop corr median " +
    "quantile_cont quantile_disc histogram covariance_matrix correlation_matrix chi_square abs round floor ceil sqrt ln log exp " +
    "power sign least greatest coalesce nullif isnan isfinite make_date date_trunc extract year quarter month week day hour " +
    "minute second dayofweek isodow dayofyear date_diff lower upper length substr trim ltrim rtrim replace concat starts_with " +
    "contains regexp_matches").split(" ");

  function all(words) {
    var found = {};
    words.forEach(function (word) { found[word] = true; });
    return found;
  }

  var editor = window.CodeMirror.fromTextArea(area, {
    // only what can be used here is coloured; a column called "cost" is no keyword
    mode: { name: "sql", keywords: all(WORDS), builtin: all(FUNCTIONS), atoms: all(["true", "false", "null"]), client: {},
      operatorChars: /^[*+\-%<>!=|/]/, support: all(["doubleQuote"]) }, lineNumbers: true, lineWrapping: true, matchBrackets: true, indentUnit: 2, viewportMargin: Infinity,
    screenReaderLabel: area.dataset.reader, placeholder: area.placeholder,
    hintOptions: { hint: hints, completeSingle: false },
    // Tab leaves the editor, as it leaves any field
    extraKeys: { Tab: false, "Shift-Tab": false, "Ctrl-Space": "autocomplete", "Ctrl-Enter": explain, "Cmd-Enter": explain }
  });
  area.required = false; // the hidden field cannot be pointed at by the browser; the server says what is missing
  document.documentElement.classList.add("with-editor");
  window.shuyanEditor = editor;

  function explain() { document.getElementById("explain-button").click(); }

  function entry(text, what, note) {
    return { text: text, displayText: note ? text + "  " + note : text, className: "hint-" + what };
  }

  function columns(names) {
    var found = [];
    names.forEach(function (table) {
      schema[table].columns.forEach(function (column) {
        found.push(entry(column[0], "column", [column[2] !== column[0] ? column[2] : "", column[3]].filter(Boolean).join(" ")));
      });
    });
    return found;
  }

  // values of the column that a quote is compared with: col = '…, col IN ('…
  function values(before) {
    var quoted = /([A-Za-z_]\w*)\s*(?:=|<>|!=|in\s*\((?:\s*'[^']*'\s*,)*)\s*'([^']*)$/i.exec(before);
    if (!quoted) return null;
    var found = [];
    Object.keys(schema).forEach(function (table) {
      schema[table].columns.forEach(function (column) {
        if (column[0].toLowerCase() === quoted[1].toLowerCase()) column[4].forEach(function (value) { found.push(value); });
      });
    });
    return { typed: quoted[2], list: found.map(function (value) { return entry(value.replace(/'/g, "''"), "value"); }) };
  }

  function hints(cm) {
    var cursor = cm.getCursor(), before = cm.getRange({ line: Math.max(0, cursor.line - 20), ch: 0 }, cursor);
    var inside = values(before), typed, list;
    if (inside) {
      typed = inside.typed; list = inside.list;
    } else {
      typed = /[\w\u4e00-\u9fff]*$/.exec(before)[0];
      var head = before.slice(0, before.length - typed.length), tables = Object.keys(schema);
      var named = tables.filter(function (table) { return new RegExp("\\b" + table + "\\b", "i").test(cm.getValue()); });
      var dotted = /([A-Za-z_]\w*)\.$/.exec(head);
      if (dotted) list = columns(schema[dotted[1]] ? [dotted[1]] : named);
      else if (/\b(from|join)\s+$/i.test(head)) list = tables.map(function (table) { return entry(table, "table", schema[table].title); });
      else list = columns(named.length ? named : tables)
        .concat(tables.map(function (table) { return entry(table, "table", schema[table].title); }))
        .concat(FUNCTIONS.map(function (name) { return entry(name, "function"); }))
        .concat(WORDS.map(function (word) { return entry(word.toUpperCase(), "word"); }));
    }
    var low = typed.toLowerCase(), seen = {};
    list = list.filter(function (one) {
      if (seen[one.text] || !(one.text.toLowerCase().indexOf(low) === 0 || (low && one.displayText.toLowerCase().indexOf(low) > 0))) return false;
      return seen[one.text] = true;
    });
    list.sort(function (a, b) { return (b.text.toLowerCase().indexOf(low) === 0) - (a.text.toLowerCase().indexOf(low) === 0); });
    return { list: list.slice(0, 40), from: { line: cursor.line, ch: cursor.ch - typed.length }, to: cursor };
  }

  editor.on("inputRead", function (cm, change) {
    if (change.origin !== "+input" || !/^[\w.']$/.test(change.text[0]) || cm.state.completionActive) return;
    var cursor = cm.getCursor();
    if (change.text[0] === "'" && !values(cm.getRange({ line: cursor.line, ch: 0 }, cursor))) return; // a quote that closes
    cm.showHint();
  });
  editor.on("change", function () { editor.save(); clear(); });

  var marked = [];
  function clear() {
    marked.forEach(function (one) { if (one.clear) one.clear(); else editor.removeLineClass(one, "background", "refused-line"); });
    marked = [];
  }

  // marks the clause that a refusal on the page is about
  function mark() {
    clear();
    var refusal = document.getElementById("refusal");
    if (!refusal || !refusal.dataset.line) return;
    var line = Number(refusal.dataset.line) - 1, ch = Number(refusal.dataset.column) - 1;
    if (line >= editor.lineCount()) return;
    var start = editor.indexFromPos({ line: line, ch: ch }), rest = editor.getValue().slice(start);
    // the clause comes with its white space folded, and may be cut short
    var words = refusal.dataset.clause.replace(/…$/, "").split(/\s+/).map(function (word) { return word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"); });
    var found = new RegExp("^\\s*" + words.join("\\s+")).exec(rest);
    var end = editor.posFromIndex(start + (found && found[0].length ? found[0].length : 1));
    marked.push(editor.addLineClass(line, "background", "refused-line"));
    marked.push(editor.markText({ line: line, ch: ch }, end, { className: "refused" }));
    editor.scrollIntoView({ line: line, ch: ch }, 60);
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-insert], [data-sql-example]");
    if (!button) return;
    if (button.dataset.sqlExample) editor.setValue(button.dataset.sqlExample);
    else editor.replaceSelection(button.dataset.insert);
    editor.focus();
  });
  document.addEventListener("htmx:afterSwap", function (event) { if (event.detail.target.id === "explained") mark(); });
  mark();
})();
