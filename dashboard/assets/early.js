// Before the first paint: the theme that was chosen, else the system's; and the zone of this browser.
(function () {
  var dark = matchMedia("(prefers-color-scheme: dark)");
  function keep(name, value) {
    document.cookie = name + "=" + encodeURIComponent(value) + ";path=/console;max-age=31536000;samesite=lax";
  }
  function apply() {
    var chosen = null;
    try { chosen = localStorage.getItem("nightrate-theme"); } catch (e) { /* storage may be forbidden */ }
    var theme = chosen || (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    keep("nightrate_theme", theme);  // charts are drawn by the server
    return theme;
  }
  apply();
  keep("nightrate_zone", Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC");
  window.nightrate = {
    applyTheme: apply, keep: keep, systemTheme: dark,
    one: function (selector, within) { return (within || document).querySelector(selector); },
    all: function (selector, within) { return Array.from((within || document).querySelectorAll(selector)); },
  };
})();
