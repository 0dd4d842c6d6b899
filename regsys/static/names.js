// Shows, while a name is typed on the registration page, what the Matrix ID will be and whether it
// is free.

const TYPING_MS = 400;

const root = document.getElementById("register");
const username = document.getElementById("username");
const status = document.getElementById("name-status");

/** Start it. The arguments are functions of the registration page. */
export function tellNames({ ask, told, _, chosenName, matrixID }) {
    let typing;

    function tell(text, state = "") {
        status.textContent = text;
        status.className = state;
        username.setAttribute("aria-invalid", state === "bad");
    }

    async function check(name) {
        if (name === "" || name !== chosenName()) {
            return; // the name was changed meanwhile, which has started another check
        }
        const query = `username=${encodeURIComponent(name)}`;
        const answer = await ask(`${root.dataset.api}register/available?${query}`);
        const { error, retry_after_ms } = await told(answer);
        if (name !== chosenName()) {
            return;
        }
        if (answer.ok) {
            tell(_("{id} is free.", { id: matrixID() }), "good");
        } else if (retry_after_ms) {
            checkSoon(name, retry_after_ms);
        } else {
            tell(_(error), "bad");
        }
    }

    function checkSoon(name, wait_ms) {
        clearTimeout(typing);
        typing = setTimeout(() => check(name).catch(() => {}), wait_ms);
    }

    username.addEventListener("input", () => {
        tell(chosenName() && _("Your Matrix ID will be {id}", { id: matrixID() }));
        if (!("namesAreSecret" in root.dataset)) {
            checkSoon(chosenName(), TYPING_MS);
        }
    });
}
