// Loads the module beside the page; it finds out by itself that there is no page here.
import init from "./playground.js";

init();
