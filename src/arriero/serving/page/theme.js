// The remembered choice of colours, set before the first paint: a plain script, so that it blocks.
try {
  const theme = localStorage.getItem("arriero.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // No storage: the system's choice stands.
}
