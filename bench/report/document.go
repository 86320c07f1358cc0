package report

import (
	"fmt"
	"strings"
)

// document is report.md.
func document(r Report, images []image) string {
	var b strings.Builder
	title := r.Title
	if title == "" {
		title = "Latency"
	}
	fmt.Fprintf(&b, "# %s\n\n%s.\n\n", cell(title), Conditions(r.Entries[0].Row))
	if r.Command != "" {
		fmt.Fprintf(&b, "    %s\n\n", strings.NewReplacer("\n", " ", "\r", " ").Replace(r.Command))
	}
	b.WriteString(latencyTable(r.Entries))
	b.WriteString(`
- e2e: from tokens in to the last token out, sampling included, loading and tokenizing excluded; median ± standard deviation over the kept runs. ttft ends at the first token; itl is the mean gap after it. Medians throughout.
- speed-up: median(dense) / median(model), with a 95 % interval from 10,000 bootstrap resamples of rounds, dense and model as pairs. All models take turns in one process, in a new order every round.
- gain: 1 - model / dense. gain/compression: 1.00 = as much faster as smaller.

`)
	if stages := stagesTable(r.Entries); stages != "" {
		b.WriteString(stages + "- preprocess, vision, projection, prefill: the parts of ttft with one image; language model: e2e without the first three.\n\n")
	}
	b.WriteString(memoryTable(r.Entries))
	b.WriteString(`
- memory: the model's own weights, cache and scratch (the process is shared by all models). read a token: weights and cache that a decode step reads, over the batch.

`)
	b.WriteString(rooflineTable(r.Entries))
	b.WriteString(`
- tg GB/s: what a decode step reads, times steps a second, and its share of the read bandwidth that this machine was measured to have. pp GFLOP/s: operations of the prompt's pass (a multiply-add counts as two; matrices, causal attention and the last position's logits) over the time to the first token, and its share of the measured peak of float32 multiply-adds. pp GB/s: every weight once, over the same time: a short prompt is bound by reading, a long one by arithmetic.
`)
	if len(r.Quality) > 0 {
		b.WriteString("\n## Quality\n\n" + qualityTable(r.Quality) + "\n- ppl: perplexity on a held-out text. Numbers: [quality.json](quality.json).\n")
	}
	for _, i := range images {
		fmt.Fprintf(&b, "\n## %s\n\n![%s](%s.png)\n\n[SVG](%s.svg)\n", i.alt, i.alt, i.name, i.name)
	}
	b.WriteString("\nNumbers: [results.json](results.json), [results.csv](results.csv). Every single run, discarded ones flagged: [samples.jsonl](samples.jsonl).\n")
	return b.String()
}
