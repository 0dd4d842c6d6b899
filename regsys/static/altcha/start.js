// Sets ALTCHA's widget up for our page: its worker, its words, and nothing that watches people.
// What it needs to know stands in the attributes of the element, so that no page has a script
// of its own.
const data = document.querySelector("altcha-widget").dataset;
const language = document.documentElement.lang || "en";

$altcha.algorithms.set("PBKDF2/SHA-256", () => new Worker(data.worker));
$altcha.i18n.set(language, {
    ...$altcha.i18n.get("en"),
    label: data.label,
    verifying: data.verifying,
    verified: data.verified,
    waitAlert: data.wait,
    verificationRequired: data.needed,
    error: data.error,
    expired: data.expired,
});
$altcha.defaults.set({ hideFooter: true, hideLogo: true, humanInteractionSignature: false });
