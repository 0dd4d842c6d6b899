// Tells the app that showed this page that the step is done: it waits for either of these.
if (typeof window.onAuthDone === "function") {
    window.onAuthDone();
} else if (window.opener) {
    // To whichever address the app has; there is no secret in it.
    window.opener.postMessage("authDone", "*");
}
