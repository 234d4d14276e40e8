/* The dashboard: figures that refresh themselves, and session events as they happen. */

"use strict";

(() => {
    const EVENTS = 50;
    const LIVE_MILLISECONDS = 60_000;
    const OFF_MILLISECONDS = 15_000;
    const SOON_MILLISECONDS = 300;
    const AGAIN_MILLISECONDS = 1_000;

    const source = document.getElementById("mcp-data");
    if (source === null) return;  // there are no figures at all
    const page = JSON.parse(source.textContent);
    const language = page.language || undefined;
    const formats = mcpFormats(language, page.time_zone);
    const root = document.querySelector(".mcp-dashboard");
    const charts = new McpCharts(root, page, formats);

    /* -- the state ---------------------------------------------------------------------- */

    const stateLine = document.getElementById("mcp-state");

    function say(state) {
        stateLine.dataset.state = state;
        stateLine.querySelector("span").textContent = page.texts.states[state];
    }

    const isLive = () => stateLine.dataset.state === "live";
    const isOut = () => stateLine.dataset.state === "out";

    /* -- figures ------------------------------------------------------------------------- */

    const DURATIONS = new Set(["average", "p50", "p95"]);
    let timer = null;
    let timerAt = Infinity;
    let newsAt = 0;  // of the newest events that the figures should know of

    function show(figures) {
        for (const tile of root.querySelectorAll("[data-tile]")) {
            const name = tile.dataset.tile;
            tile.textContent = (DURATIONS.has(name) ? formats.duration : formats.number)(figures.tiles[name]);
        }
        charts.draw(figures);
        tell(figures.events);
        showRefusals(figures.last_refusals);
        const until = document.getElementById("mcp-until");
        until.textContent = `${until.dataset.text} ${formats.instant(figures.until, "whole")}.`;
    }

    function refreshWithin(milliseconds) {
        const at = Date.now() + milliseconds;
        if (isOut() || timerAt <= at) return;
        clearTimeout(timer);
        timerAt = at;
        timer = setTimeout(refresh, milliseconds);
    }

    async function refresh() {
        timerAt = Infinity;
        if (document.hidden) return;  // until somebody looks
        let isBehind = false;
        try {
            const query = new URLSearchParams({timeframe: page.timeframe, server: page.server});
            const response = await fetch(`${page.refresh}?${query}`, {redirect: "manual"});
            if (response.type === "opaqueredirect" || response.status === 403) return stop();
            if (response.ok) {
                const figures = await response.json();
                show(figures);
                isBehind = Date.parse(figures.until) < newsAt;
            }
        } catch (error) {
            if (!(error instanceof TypeError)) throw error;  // the server cannot be reached
        }
        refreshWithin(isBehind ? AGAIN_MILLISECONDS : isLive() ? LIVE_MILLISECONDS : OFF_MILLISECONDS);
    }

    /* -- events --------------------------------------------------------------------------- */

    const list = document.getElementById("mcp-events");
    const told = new Set();

    /* Put in what is new, wherever its time is; one event comes from several sides. */
    function tell(events, isNew = false) {
        for (const event of events) {
            const name = `${event.kind} ${event.key}`;
            if (told.has(name) || (page.server && event.server !== page.server)) continue;
            told.add(name);
            const item = itemOf(event, name, isNew);
            const later = [...list.children].find((each) => Number(each.dataset.at) <= Number(item.dataset.at));
            list.insertBefore(item, later ?? null);
        }
        while (list.children.length > EVENTS) {
            told.delete(list.lastElementChild.dataset.name);
            list.lastElementChild.remove();
        }
        root.querySelector(".mcp-feed .mcp-empty").hidden = list.children.length > 0;
    }

    function itemOf(event, name, isNew) {
        const item = element("li", {className: `mcp-${event.kind}${isNew ? " mcp-new" : ""}`});
        Object.assign(item.dataset, {name, at: Date.parse(event.at)});
        const what = element("span", {textContent: `${page.texts[event.kind]} `});
        what.append(element("a", {
            href: `${page.sessions}${event.pk}/change/`, textContent: `${event.key.slice(0, 10)}…`, title: event.key,
        }));
        const time = element("time", {
            dateTime: event.at, textContent: formats.instant(event.at, "second"), title: formats.instant(event.at, "whole"),
        });
        const reason = event.reason && (page.texts.reasons[event.reason] ?? event.reason);
        const endpoint = page.has_endpoints && event.server;
        const about = [reason, event.client, endpoint, event.address].filter(Boolean).join(" · ");
        item.append(what, time, element("small", {textContent: about, title: about}));
        return item;
    }

    /* -- refusals -------------------------------------------------------------------------- */

    const refused = document.getElementById("mcp-refusals");

    function showRefusals(refusals) {
        const {texts} = page;
        const names = [texts.last, texts.reason, texts.requests, page.has_endpoints && texts.endpoint, texts.address, texts.owner, texts.session];
        const rows = refusals.map((each) => [
            element("time", {
                dateTime: each.at, textContent: formats.instant(each.at, "second"), title: formats.instant(each.at, "whole"),
            }),
            element("code", {textContent: each.reason}),
            formats.number(each.count),
            page.has_endpoints && each.server,
            each.address || "–",
            each.owner || "–",
            each.key ? element("a", {
                href: `${page.sessions}?q=${each.key}`, textContent: `${each.key.slice(0, 10)}…`, title: each.key,
            }) : "–",
        ]);
        refused.replaceChildren(rowsOf("thead", "th", [names]), rowsOf("tbody", "td", rows));
        refused.hidden = !rows.length;
        root.querySelector(".mcp-refusals .mcp-empty").hidden = rows.length > 0;
    }

    /* A part of a table; a cell that is false is left out. */
    function rowsOf(part, tag, rows) {
        const made = element(part, {});
        made.append(...rows.map((cells) => {
            const row = element("tr", {});
            row.append(...cells.filter((cell) => cell !== false).map((cell) => {
                const made = element(tag, {});
                made.append(cell);
                return made;
            }));
            return row;
        }));
        return made;
    }

    function element(tag, properties) {
        return Object.assign(document.createElement(tag), properties);
    }

    /* -- the stream ------------------------------------------------------------------------ */

    let stream = null;
    let again = null;

    function connect() {
        if (isOut() || document.hidden) return;
        disconnect();
        stream = new EventSource(page.events);
        stream.addEventListener("open", () => say("live"));
        // What happened until now, nobody here heard.
        stream.addEventListener("listening", () => refreshWithin(0));
        stream.addEventListener("sessions", ({data}) => {
            const {now, events} = JSON.parse(data);
            tell(events, true);
            newsAt = Date.parse(now);
            refreshWithin(SOON_MILLISECONDS);
        });
        stream.addEventListener("error", () => {
            if (stream.readyState === EventSource.CONNECTING) return say("reconnecting");
            // Refused: there are too many, or the server is about to go. It is asked again.
            say("off");
            refreshWithin(OFF_MILLISECONDS);
            again = setTimeout(connect, OFF_MILLISECONDS);
        });
    }

    function disconnect() {
        clearTimeout(again);
        stream?.close();
    }

    function stop() {
        say("out");
        clearTimeout(timer);
        disconnect();
    }

    /* A page that nobody looks at needs no stream and no figures: browsers have few connections, and servers few threads. */
    async function lookAgain() {
        if (document.hidden) return disconnect();
        clearTimeout(timer);
        await refresh();
        if (page.events) connect();
    }

    document.addEventListener("visibilitychange", lookAgain);
    document.getElementById("mcp-server")?.addEventListener("change", (event) => event.target.form.submit());

    show(page.figures);
    // What is there already need not be read out.
    list.setAttribute("aria-live", "polite");
    say(page.events ? "connecting" : "off");
    refreshWithin(OFF_MILLISECONDS);
    if (page.events) connect();
})();
