/* The dashboard's charts, and for each the same figures as a table. */

"use strict";

/* Instants, numbers and durations in the user's language and time zone. */
function mcpFormats(language, timeZone) {
    const at = (options) => {
        try {
            return new Intl.DateTimeFormat(language, {timeZone, ...options});
        } catch (error) {
            if (!(error instanceof RangeError)) throw error;
            return new Intl.DateTimeFormat(language, {timeZone: "UTC", timeZoneName: "short", ...options});
        }
    };
    const instants = {
        second: at({hour: "2-digit", minute: "2-digit", second: "2-digit"}),
        hour: at({hour: "2-digit", minute: "2-digit"}),
        day: at({hour: "2-digit", minute: "2-digit"}),
        week: at({weekday: "short", day: "numeric", hour: "2-digit", minute: "2-digit"}),
        month: at({day: "numeric", month: "short"}),
        whole: at({dateStyle: "medium", timeStyle: "medium"}),
    };
    const number = new Intl.NumberFormat(language, {maximumFractionDigits: 1});
    const percent = new Intl.NumberFormat(language, {style: "percent", maximumFractionDigits: 1});
    const unit = (amount, unit, digits) =>
        new Intl.NumberFormat(language, {style: "unit", unit, unitDisplay: "narrow", maximumFractionDigits: digits}).format(amount);

    function both(amount, large, small) {
        const parts = [unit(Math.floor(amount / 60), large, 0), amount % 60 && unit(amount % 60, small, 0)];
        return parts.filter(Boolean).join(" ");
    }

    function duration(seconds) {
        if (seconds === null) return "–";
        if (seconds && seconds < 1) return unit(Math.round(seconds * 1000), "millisecond", 0);
        if (seconds < 60) return unit(seconds, "second", seconds < 10 ? 1 : 0);
        if (seconds < 3600) return both(Math.round(seconds), "minute", "second");
        return both(Math.round(seconds / 60), "hour", "minute");
    }

    return {
        instant: (at, form) => instants[form].format(new Date(at)),
        number: (value) => number.format(value),
        percent: (value) => percent.format(value),
        duration,
    };
}

class McpCharts {
    constructor(root, page, formats) {
        this.root = root;
        this.page = page;
        this.formats = formats;
        this.charts = {};
        const redraw = () => this.figures && this.draw(this.figures);
        // The admin's toggle says which theme; without it the system does.
        new MutationObserver(redraw).observe(document.documentElement, {attributeFilter: ["data-theme"]});
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    }

    draw(figures) {
        this.figures = figures;
        this.readColors();
        this.series("live", figures, [["live", "line"]]);
        this.series("growth", figures, [["opened", "bar"], ["ended", "bar"]]);
        this.names("clients", figures.clients, "client");
        this.parts("revisions", figures.revisions, "revision");
        this.parts("reasons", figures.reasons, "reason");
        this.durations(figures.durations);
        this.refused(figures.refused);
        this.counts("hours", figures.hours, "hour", figures.hours.map((_, hour) => String(hour).padStart(2, "0")));
        this.counts("weekdays", figures.weekdays, "weekday", this.page.texts.weekdays);
    }

    readColors() {
        const style = getComputedStyle(this.root);
        this.color = (name) => style.getPropertyValue(name).trim();
        Chart.defaults.color = this.color("--body-quiet-color");
        Chart.defaults.borderColor = this.color("--hairline-color");
        Chart.defaults.font.family = style.fontFamily;
        Chart.defaults.font.size = 12;
    }

    /* -- kinds of charts ------------------------------------------------------------------ */

    series(name, figures, kinds) {
        const {growth} = figures;
        const {texts, timeframe} = this.page;
        const labels = growth.map((step) => this.formats.instant(step.at, timeframe));
        const datasets = kinds.map(([kind, type]) => ({
            type,
            label: texts[kind],
            data: growth.map((step) => step[kind]),
            borderColor: this.color(`--mcp-${kind}`),
            backgroundColor: type === "line" ? this.faded(`--mcp-${kind}`) : this.color(`--mcp-${kind}`),
            borderWidth: type === "line" ? 2 : 0,
            borderRadius: 2,
            fill: type === "line",
            pointRadius: 0,
            pointHitRadius: 12,
            tension: 0.25,
        }));
        this.put(name, {
            isEmpty: growth.every((step) => !step.opened && !step.ended && !step.live),
            type: kinds[0][1],
            data: {labels, datasets},
            options: {
                interaction: {mode: "index", intersect: false},
                plugins: {legend: this.legend(kinds.length > 1, "top", "end")},
                scales: {x: this.labelAxis(), y: this.countAxis()},
            },
            head: [texts.time, ...kinds.map(([kind]) => texts[kind])],
            rows: growth.map((step, index) => [labels[index], ...kinds.map(([kind]) => step[kind])]),
        });
    }

    /* Steps of stacked bars, one colour for each reason. */
    refused({steps, reasons}) {
        const {texts, timeframe} = this.page;
        const labels = steps.map((at) => this.formats.instant(at, timeframe));
        const colors = this.colorsOf(reasons);
        this.put("refused", {
            isEmpty: !reasons.length,
            type: "bar",
            data: {
                labels,
                datasets: reasons.map(([reason, counts], index) => this.bars(counts, reason, colors[index])),
            },
            options: {
                interaction: {mode: "index", intersect: false},
                plugins: {legend: this.legend(true, "top", "end")},
                scales: {x: {...this.labelAxis(), stacked: true}, y: {...this.countAxis(), stacked: true}},
            },
            head: [texts.time, ...reasons.map(([reason]) => reason)],
            rows: labels.map((label, index) => [label, ...reasons.map(([, counts]) => this.formats.number(counts[index]))]),
        });
    }

    names(name, counts, kind) {
        const labels = counts.map(([each]) => each ?? this.page.texts.other);
        const values = counts.map(([, count]) => count);
        this.put(name, {
            isEmpty: !values.length,
            type: "bar",
            data: {labels, datasets: [this.bars(values, this.page.texts.opened, this.colorsOf(counts))]},
            options: {
                indexAxis: "y",
                plugins: {legend: {display: false}},
                scales: {x: this.countAxis(), y: {grid: {display: false}, ticks: {callback: shortened}}},
            },
            ...this.table(kind, labels, values),
        });
    }

    parts(name, counts, kind) {
        const labels = counts.map(([each]) => this.named(each));
        const values = counts.map(([, count]) => count);
        const total = values.reduce((sum, each) => sum + each, 0);
        const colors = this.colorsOf(counts);
        this.put(name, {
            isEmpty: !total,
            type: "doughnut",
            data: {labels, datasets: [{data: values, backgroundColor: colors, borderColor: this.color("--body-bg"), borderWidth: 2}]},
            options: {
                cutout: "62%",
                plugins: {
                    legend: this.legend(true, "right", "center"),
                    tooltip: {callbacks: {label: ({raw}) => `${this.formats.number(raw)} (${this.formats.percent(raw / total)})`}},
                },
            },
            ...this.table(kind, labels, values, total),
        });
    }

    durations(percentiles) {
        const names = Object.keys(percentiles);
        const values = Object.values(percentiles);
        const {texts} = this.page;
        this.put("durations", {
            isEmpty: values.every((value) => value === null),
            type: "bar",
            data: {labels: names, datasets: [this.bars(values, texts.duration, this.color("--mcp-1"))]},
            options: {
                indexAxis: "y",
                plugins: {
                    legend: {display: false},
                    tooltip: {callbacks: {label: ({raw}) => `≤ ${this.formats.duration(raw)}`}},
                },
                scales: {
                    x: {
                        beginAtZero: true,
                        border: {display: false},
                        ticks: {stepSize: stepUpTo(Math.max(...values)), maxRotation: 0, callback: this.formats.duration},
                    },
                    y: {grid: {display: false}},
                },
            },
            head: [texts.share, texts.duration],
            rows: names.map((name, index) => [this.formats.percent(name.slice(1) / 100), this.formats.duration(values[index])]),
        });
    }

    counts(name, values, kind, labels) {
        this.put(name, {
            isEmpty: values.every((value) => !value),
            type: "bar",
            data: {labels, datasets: [this.bars(values, this.page.texts.opened, this.color("--mcp-opened"))]},
            options: {
                plugins: {legend: {display: false}},
                scales: {x: this.labelAxis(), y: this.countAxis()},
            },
            ...this.table(kind, labels, values),
        });
    }

    /* -- what they have in common ------------------------------------------------------------ */

    put(name, {isEmpty, type, data, options, head, rows}) {
        const panel = this.root.querySelector(`[data-panel="${name}"]`);
        panel.querySelector(".mcp-empty").hidden = !isEmpty;
        panel.querySelector(".mcp-canvas").hidden = isEmpty;
        panel.querySelector("details").hidden = isEmpty;
        panel.querySelector("table").replaceChildren(...tableOf(head, rows));
        // What refreshes itself should not fidget.
        const all = {maintainAspectRatio: false, animation: false, ...options};
        const chart = this.charts[name];
        if (chart) {
            Object.assign(chart, {data, options: all});
            chart.update();
        } else if (!isEmpty) {
            this.charts[name] = new Chart(panel.querySelector("canvas"), {type, data, options: all});
        }
    }

    table(kind, labels, values, total) {
        const {texts} = this.page;
        return {
            head: [texts[kind], texts.sessions, ...(total ? [texts.share] : [])],
            rows: labels.map((label, index) => [
                label,
                this.formats.number(values[index]),
                ...(total ? [this.formats.percent(values[index] / total)] : []),
            ]),
        };
    }

    bars(data, label, backgroundColor) {
        return {data, label, backgroundColor, borderRadius: 3, maxBarThickness: 22};
    }

    legend(display, position, align) {
        return {display, position, align, labels: {boxWidth: 10, boxHeight: 10, padding: 10}};
    }

    labelAxis() {
        return {grid: {display: false}, ticks: {maxRotation: 0, autoSkipPadding: 16}};
    }

    countAxis() {
        return {
            beginAtZero: true,
            border: {display: false},
            ticks: {precision: 0, maxTicksLimit: 6, callback: (value) => this.formats.number(value)},
        };
    }

    named(name) {
        return name === null ? this.page.texts.other : (this.page.texts.reasons[name] ?? name);
    }

    /* One colour after the other, and grey for the rest. */
    colorsOf(counts) {
        return counts.map(([name], index) => this.color(name === null ? "--mcp-other" : `--mcp-${index % 8 + 1}`));
    }

    faded(name) {
        return `${this.color(name)}33`;
    }
}

/* Seconds between two marks of an axis, as clocks have them. */
function stepUpTo(seconds) {
    const steps = [0.1, 0.5, 1, 5, 15, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400];
    return steps.find((step) => seconds / step <= 4) ?? Math.ceil(seconds / 4 / 86400) * 86400;
}

/* An axis has room for so much of what clients call themselves. */
function shortened(index) {
    const label = this.getLabelForValue(index);
    return label.length > 20 ? `${label.slice(0, 19)}…` : label;
}

function tableOf(head, rows) {
    const line = (tag, cells) => {
        const row = document.createElement("tr");
        row.append(...cells.map((cell) => Object.assign(document.createElement(tag), {textContent: cell})));
        return row;
    };
    const top = document.createElement("thead");
    const body = document.createElement("tbody");
    top.append(line("th", head));
    body.append(...rows.map((cells) => line("td", cells)));
    return [top, body];
}
