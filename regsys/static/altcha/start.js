// Puts ALTCHA's widget where the page has left a place for it. What it needs to know stands in
// the attributes of that place, so that no page has a script of its own. The widget's own script
// comes first and its element last: an element takes its words and its worker when it appears.
(async () => {
    const place = document.currentScript.previousElementSibling;
    const { widget, worker, challenge, ...words } = place.dataset;
    const language = document.documentElement.lang || "en";

    await import(widget);
    $altcha.algorithms.set("PBKDF2/SHA-256", () => new Worker(worker));
    $altcha.i18n.set(language, { ...$altcha.i18n.get("en"), ...words });
    $altcha.defaults.set({ hideFooter: true, hideLogo: true, humanInteractionSignature: false });

    const element = document.createElement("altcha-widget");
    for (const [name, value] of Object.entries({ name: "altcha", auto: "onload", language, challenge })) {
        element.setAttribute(name, value);
    }
    place.append(element);
})();
