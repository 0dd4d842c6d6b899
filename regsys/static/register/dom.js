// What all modules of the registration page share: its elements, and its sentences.

export const root = find("register");
export const api = root.dataset.api;
export const title = document.querySelector("h1").textContent;
const catalogue = JSON.parse(find("catalogue").textContent);

export function find(id) {
    return document.getElementById(id);
}

/** The sentence in the reader's language, if there is a translation, with {names} filled in. */
export function _(sentence, values = {}) {
    const text = catalogue[sentence] ?? sentence;
    return text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

export function element(name, text, attributes = {}) {
    const made = document.createElement(name);
    made.textContent = text;
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
}

/** Set the ARIA state of an element; without a value, or for false, remove it. */
export function aria(node, name, value) {
    if (value) {
        node.setAttribute(`aria-${name}`, value);
    } else {
        node.removeAttribute(`aria-${name}`);
    }
}
