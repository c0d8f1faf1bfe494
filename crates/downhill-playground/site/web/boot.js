// Loads the module, which does the rest; says so where that fails.
import init from "./playground.js";

init().then(() => performance.mark("drawn"), (error) => {
  const loading = document.getElementById("loading");
  loading.setAttribute("role", "alert");
  loading.textContent = `The playground could not be loaded: ${error}`;
});
