// Looks again and again whether something has happened elsewhere.

const FIRST_MS = 2500;
const MOST_MS = 12_000;
const FACTOR = 1.3;

/**
 * Call `look` until the signal aborts: as soon as the person comes back to this page, and if it is
 * to look `often` every few seconds, too. It may fail, because nothing has happened yet, or because the server is away; after an
 * error with `waitMs` it is left alone for so long.
 */
export function watch(signal, look, often) {
    let pauseMs = FIRST_MS;
    let notBefore = 0;
    let timer;
    let looking = false;

    async function now() {
        if (looking || signal.aborted) {
            return;
        }
        clearTimeout(timer);
        looking = true;
        try {
            await look();
        } catch (error) {
            notBefore = Date.now() + (error.waitMs ?? 0);
        } finally {
            looking = false;
        }
        pauseMs = Math.min(pauseMs * FACTOR, MOST_MS);
        if (often) {
            later(pauseMs);
        }
    }

    function later(ms) {
        clearTimeout(timer);
        if (!signal.aborted) {
            timer = setTimeout(now, Math.max(ms, notBefore - Date.now()));
        }
    }

    function comeBack() {
        if (!document.hidden) {
            pauseMs = FIRST_MS;
            later(0);
        }
    }

    document.addEventListener("visibilitychange", comeBack, { signal });
    addEventListener("focus", comeBack, { signal });
    addEventListener("pageshow", comeBack, { signal }); // after Back from another page
    signal.addEventListener("abort", () => clearTimeout(timer));
    if (often) {
        later(FIRST_MS);
    }
}
