package sweep

import (
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device/cpu"
	"mop/runtime/open"
	"mop/runtime/timing"
)

// BenchmarkDividedPrefill compares the prefill of 512 tokens in turns of about 25 ms with the
// undivided one, with the shapes of SmolLM2-135M beside a second copy. Both are measured in every
// iteration. The ratio that it reports is what dividing costs.
func BenchmarkDividedPrefill(b *testing.B) {
	c, err := open.Config("preset:smollm2-135m")
	if err != nil {
		b.Fatal(err)
	}
	dev, err := cpu.New(0)
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Close()
	x := setting{1, 512, 2}
	prompts, err := x.prompts(c)
	if err != nil {
		b.Fatal(err)
	}
	own, beside, err := pairOfWeights(dev, 0, checkpoint.BF16, modelBytes(c, checkpoint.BF16), modelBytes(c, checkpoint.BF16))
	if err != nil {
		b.Fatal(err)
	}
	var models []*placed
	for _, w := range []*weights{own, beside} {
		p, err := place(dev, dev, w, c, open.ModelOptions{}, x.Batch, x.In+x.Out)
		if err != nil {
			b.Fatal(err)
		}
		defer p.close()
		models = append(models, p)
	}
	both := func() (prefill, ratio float64) {
		runs, err := timing.MeasureInTurns(b.Context(), []timing.InTurns{models[0].turns, models[1].turns}, prompts, x.Out, nil)
		if err != nil {
			b.Fatal(err)
		}
		for i, p := range models {
			if p.turns.Divided.Turns() == 1 {
				p.divide(runs[i])
			} else {
				p.turns.Divided.Divide(0)
			}
		}
		return ms(runs[0].TTFT()), ms(runs[0].TTFT()) / ms(runs[1].TTFT())
	}
	both() // grows buffers
	models[0].turns.Divided.Divide(0)
	models[1].turns.Divided.Divide(0)
	var times, ratios [2][]float64 // undivided, divided
	for b.Loop() {
		for i := range times {
			prefill, ratio := both()
			times[i], ratios[i] = append(times[i], prefill), append(ratios[i], ratio)
		}
	}
	b.ReportMetric(median(times[1])/median(times[0]), "divided/undivided")
	b.ReportMetric(100*interval(ratios[0]), "undivided-ratio-±%")
	b.ReportMetric(100*interval(ratios[1]), "divided-ratio-±%")
}
