package study

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"mop/bench/report"
)

// Markdown is the report as text: the main table, the accuracies, what the first row's
// differences mean, and the conditions.
func (r *Result) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Pruning methods on %s\n\n%s\n\n", r.Model, r.summaryLine())
	if r.Command != "" {
		fmt.Fprintf(&b, "    %s\n\n", strings.NewReplacer("\n", " ", "\r", " ").Replace(r.Command))
	}
	b.WriteString(r.mainTable() + "\n" + r.mainNotes() + "\n")
	for _, after := range []bool{false, true} {
		if table := r.taskTable(after); table != "" {
			title := "Accuracy as pruned"
			if after {
				title = "Accuracy after recovery"
			}
			fmt.Fprintf(&b, "## %s\n\n%s\n", title, table)
		}
	}
	if len(r.Tasks) > 0 {
		fmt.Fprintf(&b, "In percent: acc_norm, or acc where a task has none, with the standard error of the choice of questions (%s of each task%s).\n\n", r.questions(), bosNote(r.BOS))
	}
	if verdict := r.Verdict(); verdict != "" {
		fmt.Fprintf(&b, "## %s against the others at equal targets\n\n%s\n", r.Rows[1].Row, verdict)
	}
	b.WriteString("## Rows\n\n")
	for _, row := range r.rowFlags() {
		fmt.Fprintf(&b, "- %s: `%s`\n", row[0], row[1])
	}
	b.WriteString("\nInteractive: [report.html](report.html). Numbers: [study.json](study.json), [study.csv](study.csv).\n")
	return b.String()
}

// summaryLine says on what the study was made.
func (r *Result) summaryLine() string {
	parts := []string{"Commit " + r.Commit}
	if r.Text != "" {
		n := 0
		if q := r.Rows[0].Models[0].Before; q != nil && q.Perplexity != nil {
			n = q.Perplexity.Tokens
		}
		what := "perplexity"
		if r.hasKL() {
			what = "perplexity and KL divergence from the dense model"
		}
		parts = append(parts, fmt.Sprintf("%s on %d tokens of %s in windows of %d", what, n, r.Text, r.Context))
	}
	if len(r.Tasks) > 0 {
		parts = append(parts, fmt.Sprintf("%s of each of %s", r.questions(), strings.Join(r.Tasks, ", ")))
	}
	if t := r.Recovery; t != nil {
		steps := "two epochs"
		if t.Steps > 0 {
			steps = fmt.Sprintf("%d steps of %v examples", t.Steps, t.Settings["batch"])
		}
		parts = append(parts, fmt.Sprintf("recovery by %s of %s, rank %v, learning rate %v", steps, t.Data, t.Settings["rank"], t.Settings["rate"]))
	}
	if r.Conditions != "" {
		parts = append(parts, "latency with "+r.Conditions)
	} else {
		parts = append(parts, "latency not measured")
	}
	if n := len(r.Seeds); n > 1 {
		parts = append(parts, fmt.Sprintf("%d seeds, ± is the standard deviation over them", n))
	}
	return strings.Join(parts, "; ") + "."
}

func (r *Result) questions() string {
	if r.Limit == 0 {
		return "all questions"
	}
	return fmt.Sprintf("the first %d questions", r.Limit)
}

func bosNote(bos string) string {
	if bos == "" {
		return ""
	}
	return "; BOS " + bos
}

// mainTable is the paper's main table, with the measured latency beside it.
func (r *Result) mainTable() string {
	header := []string{"model", "parameters", "smaller", "perplexity", "KL, nats", "accuracy", "recovered: perplexity", "recovered: KL, nats", "recovered: accuracy", "latency, ms", "speed-up", "gain per compression"}
	const latency, speedup, gain = 9, 10, 11 // columns
	var rows [][]string
	for i, e := range r.Rows {
		line := []string{e.name(), count(e.Params.Mean), "", pplOf(e.Before), klOf(e.Before), averageOf(e.Before), pplOf(e.After), klOf(e.After), averageOf(e.After), "-", "-", "-"}
		if i > 0 {
			line[2] = fmt.Sprintf("%.1f %%", 100*e.Compression.Mean)
		}
		if l := e.Latency; l != nil {
			line[latency], line[speedup] = fmt.Sprintf("%.1f", l.E2E), fmt.Sprintf("%.2f", l.Speedup.Median)
			if l.ShareSD != nil {
				line[latency] += fmt.Sprintf(" ± %.1f", *l.SD)
			}
			if l.Speedup.Lo != nil {
				line[speedup] = fmt.Sprintf("%.2f [%.2f, %.2f]", l.Speedup.Median, *l.Speedup.Lo, *l.Speedup.Hi)
			}
			if l.Gain != nil {
				line[gain] = fmt.Sprintf("%.2f", *l.Gain)
			}
		}
		rows = append(rows, line)
	}
	// Columns that nothing fills are left out.
	for c := len(header) - 1; c > 1; c-- {
		if !slices.ContainsFunc(rows, func(row []string) bool { return row[c] != "-" && row[c] != "" }) {
			header = slices.Delete(header, c, c+1)
			for i := range rows {
				rows[i] = slices.Delete(rows[i], c, c+1)
			}
		}
	}
	return report.Table(header, rows)
}

// name is the row and its target, or its size where it has none.
func (e *Entry) name() string {
	switch {
	case e.Target > 0:
		return e.Row + " " + percent(e.Target)
	case e.LatencyTarget > 0:
		return fmt.Sprintf("%s, %s of the latency", e.Row, percent(e.LatencyTarget))
	case e.Row == denseName:
		return denseName
	}
	return fmt.Sprintf("%s, %.1f %% smaller", e.Row, 100*e.Compression.Mean)
}

// percent writes a share.
func percent(share float64) string {
	return strconv.FormatFloat(math.Round(1e4*share)/100, 'g', -1, 64) + " %"
}

func (r *Result) mainNotes() string {
	var notes []string
	if len(r.Tasks) > 0 {
		notes = append(notes, "accuracy: the average over the tasks, in percent, ± its standard error over the questions.")
	}
	if r.Conditions != "" {
		notes = append(notes, "speed-up: the dense model's latency over the model's, with a 95 % interval; both were measured in turns in one process. Models whose layers have the same sizes share a measurement. Gain per compression: the share of latency saved over the share of parameters removed.")
	}
	if r.Recovery != nil {
		notes = append(notes, "recovered: after the same training, which the dense model had too.")
	}
	var b strings.Builder
	for _, n := range notes {
		b.WriteString("- " + n + "\n")
	}
	return b.String()
}

// taskTable has each task's accuracy, before or after recovery; "" = there is none.
func (r *Result) taskTable(after bool) string {
	var rows [][]string
	for _, e := range r.Rows {
		q := e.Before
		if after {
			q = e.After
		}
		if q == nil || q.Average == nil {
			continue
		}
		line := []string{e.name()}
		for _, t := range r.Tasks {
			line = append(line, fmt.Sprintf("%.1f ± %.1f", 100*q.Tasks[t].Mean, 100*q.Stderr[t]))
		}
		rows = append(rows, append(line, averageOf(q)))
	}
	if len(rows) == 0 {
		return ""
	}
	return report.Table(append(append([]string{"model"}, r.Tasks...), "average"), rows)
}

// Verdict compares the first row with the others in sentences.
func (r *Result) Verdict() string {
	var b strings.Builder
	for _, p := range r.Pairs {
		state := "as pruned"
		if p.Recovered {
			state = "recovered"
		}
		at := percent(p.Target)
		if p.LatencyTarget > 0 {
			at = percent(p.LatencyTarget) + " of the latency"
		}
		fmt.Fprintf(&b, "- %s, %s, %s against %s", at, state, p.Row, p.Other)
		if math.Abs(p.Size-1) > 0.005 {
			fmt.Fprintf(&b, " (%.1f %% %s)", 100*math.Abs(p.Size-1), map[bool]string{true: "larger", false: "smaller"}[p.Size > 1])
		}
		b.WriteString(": ")
		var parts []string
		if p.PPL != nil {
			parts = append(parts, ratioText("perplexity", *p.PPL))
		}
		if p.KL != nil {
			parts = append(parts, ratioText("KL divergence", *p.KL))
		}
		if p.Average != nil {
			word := "not told apart by these questions"
			if math.Abs(*p.Average) > 2**p.Stderr {
				word = "better"
				if *p.Average < 0 {
					word = "worse"
				}
			}
			parts = append(parts, fmt.Sprintf("accuracy %+.1f ± %.1f points (%s)", 100**p.Average, 100**p.Stderr, word))
		}
		b.WriteString(strings.Join(parts, ", ") + ".\n")
	}
	return b.String()
}

// ratioText says how a row's quantity, of which less is better, compares with another's.
func ratioText(quantity string, ratio float64) string {
	switch {
	case ratio == 1:
		return quantity + " equal"
	case ratio > 1:
		return fmt.Sprintf("%s %.3g times the other's (higher, worse)", quantity, ratio)
	}
	return fmt.Sprintf("%s %.3g times the other's (lower, better)", quantity, ratio)
}

// hasKL reports whether KL divergences were measured.
func (r *Result) hasKL() bool {
	return slices.ContainsFunc(r.Rows, func(e Entry) bool { return e.Before != nil && e.Before.KL != nil })
}

// rowFlags are the names and flags of the rows.
func (r *Result) rowFlags() [][2]string {
	var out [][2]string
	for _, e := range r.Rows[1:] {
		if x := [2]string{e.Row, e.Flags}; !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

func pplOf(q *Summary) string {
	if q == nil || q.PPL == nil {
		return "-"
	}
	return value(q.PPL.Mean) + deviation(q.PPL.SD)
}

func klOf(q *Summary) string {
	if q == nil || q.KL == nil {
		return "-"
	}
	return value(q.KL.Mean) + deviation(q.KL.SD)
}

// value has four digits at least, and no decimals above 1000.
func value(x float64) string {
	switch {
	case x >= 1000:
		return fmt.Sprintf("%.0f", x)
	case x >= 100:
		return fmt.Sprintf("%.1f", x)
	case x >= 10:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3f", x)
}

func deviation(sd *float64) string {
	if sd == nil {
		return ""
	}
	return " ± " + value(*sd)
}

// averageOf is the average accuracy, with the larger of its two errors: over the questions,
// and over the seeds.
func averageOf(q *Summary) string {
	if q == nil || q.Average == nil {
		return "-"
	}
	e := q.Error
	if q.Average.SD != nil {
		e = max(e, *q.Average.SD)
	}
	return fmt.Sprintf("%.1f ± %.1f", 100*q.Average.Mean, 100*e)
}

func count(params float64) string {
	if params >= 1e9 {
		return fmt.Sprintf("%.2f B", params/1e9)
	}
	if params >= 1e6 {
		return fmt.Sprintf("%.1f M", params/1e6)
	}
	return fmt.Sprintf("%.0f", params)
}
