// Puts ALTCHA's widget into its placeholder on the page. The placeholder's attributes configure it,
// so that no page needs an inline script. The widget's script is loaded first and its element is
// added last, because an element reads its texts and its worker when it is added.
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
