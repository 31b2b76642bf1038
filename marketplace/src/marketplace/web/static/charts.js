// Draws every <div class="chart" data-chart='{"kind": …}'>. The numbers are also in a table beside it.
(function () {
  "use strict";
  var palette = ["#0b5c8a", "#b86a00", "#1a8f4b", "#8b4fb3", "#c62f2f", "#4a6572", "#2aa3c0", "#a3701b"];

  function ink(element) { return getComputedStyle(element).color; }

  function base(element, spec) {
    var colour = ink(element);
    return {
      color: palette, animationDuration: 300, aria: { enabled: true },
      textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
      // rich text, not HTML: an HTML tooltip needs inline styles, which the content security policy refuses
      tooltip: { trigger: "axis", renderMode: "richText", axisPointer: { type: "shadow" }, confine: true },
      legend: spec.series && spec.series.length > 1 ? { top: 0, type: "scroll", textStyle: { color: colour } } : undefined,
      grid: { left: 8, right: 24, top: spec.series && spec.series.length > 1 ? 40 : 28, bottom: 8, containLabel: true }
    };
  }

  function bars(element, spec) {
    var option = base(element, spec);
    var colour = ink(element);
    var narrow = element.clientWidth < 480;
    var categories = { type: "category", data: spec.categories, axisLabel: {
      color: colour, interval: spec.dense ? "auto" : 0, rotate: !spec.horizontal && spec.categories.length > (narrow ? 4 : 9) ? 40 : 0,
      overflow: "truncate", width: spec.horizontal ? (narrow ? 96 : 170) : undefined } };
    var values = { type: "value", name: spec.unit || "", nameTextStyle: { color: colour }, axisLabel: { color: colour }, scale: !!spec.scale,
      splitNumber: narrow ? 3 : 5, splitLine: { lineStyle: { opacity: .5 } } };
    if (spec.horizontal) { categories.inverse = true; option.xAxis = values; option.yAxis = categories; }
    else { option.xAxis = categories; option.yAxis = values; }
    option.series = spec.series.map(function (series) {
      return { type: "bar", name: series.name, data: series.values, barMaxWidth: 46,
        barCategoryGap: spec.dense ? "4%" : "30%" };
    });
    return option;
  }

  function lines(element, spec) {
    var option = base(element, spec), colour = ink(element), narrow = element.clientWidth < 480;
    option.animation = false;
    option.grid.bottom = spec.x ? 26 : 8;
    option.tooltip.axisPointer = { type: "line" };
    option.xAxis = { type: "category", data: spec.categories, boundaryGap: false, name: spec.x || "", nameLocation: "middle", nameGap: 26,
      nameTextStyle: { color: colour }, axisLabel: { color: colour, hideOverlap: true } };
    option.yAxis = { type: "value", scale: !!spec.scale, axisLabel: { color: colour }, splitNumber: narrow ? 3 : 5, splitLine: { lineStyle: { opacity: .5 } } };
    option.series = spec.series.map(function (series, place) {
      return { type: "line", name: series.name, data: series.values, showSymbol: spec.categories.length < 40, connectNulls: true,
        // told apart by their stroke as well as by colour
        lineStyle: { width: 2, type: ["solid", "dashed", "dotted"][place % 3] } };
    });
    return option;
  }

  function pie(element, spec) {
    var option = base(element, spec);
    var colour = ink(element);
    delete option.grid;
    option.tooltip = { trigger: "item", renderMode: "richText", confine: true, formatter: "{b}: {d}%" };
    option.legend = { bottom: 0, type: "scroll", textStyle: { color: colour } };
    option.series = [{ type: "pie", radius: ["45%", "72%"], center: ["50%", "44%"], data: spec.data,
      label: { position: "inside", formatter: "{d}%", color: "#fff" }, labelLine: { show: false } }];
    return option;
  }

  window.shuyanCharts = function (root) {
    root.querySelectorAll(".chart[data-chart]").forEach(function (element) {
      if (element.dataset.drawn || !window.echarts) return;
      var spec = JSON.parse(element.dataset.chart);
      if (spec.horizontal) element.style.height = Math.max(160, 60 + 26 * spec.categories.length) + "px";
      var chart = window.echarts.init(element, null, { renderer: "canvas" });
      chart.setOption(option(element, spec));
      element.dataset.drawn = "1";
      new ResizeObserver(function () { chart.resize(); }).observe(element);
    });
    // a chart that stays while a poll brings its numbers anew
    root.querySelectorAll(".chart[data-from]").forEach(function (element) {
      var source = document.getElementById(element.dataset.from);
      if (!source || !window.echarts || element.dataset.shown === source.dataset.spec) return;
      var chart = window.echarts.getInstanceByDom(element);
      if (!chart) {
        chart = window.echarts.init(element, null, { renderer: "canvas" });
        new ResizeObserver(function () { chart.resize(); }).observe(element);
      }
      chart.setOption(option(element, JSON.parse(source.dataset.spec)), true);
      element.dataset.shown = source.dataset.spec;
    });
  };

  function option(element, spec) {
    return { pie: pie, line: lines }[spec.kind] ? { pie: pie, line: lines }[spec.kind](element, spec) : bars(element, spec);
  }
  window.shuyanCharts(document);
})();
