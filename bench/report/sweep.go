package report

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/predict"
)

// WriteSweep writes sweep.md and the plots of a latency table into dir, which is created
// if necessary.
func WriteSweep(dir string, t *predict.Table) error {
	images, err := sweepPlots(t)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var b strings.Builder
	m := t.Machine
	fmt.Fprintf(&b, "# Sweep of %s\n\n%s.\n\n%s\n", cell(t.Model.Name), sweepConditions(m), SweepVerdict(t))
	for _, i := range images {
		for ending, body := range map[string][]byte{".png": i.png, ".svg": i.svg} {
			if err := renameio.WriteFile(filepath.Join(dir, i.name+ending), body, 0o644); err != nil {
				return fmt.Errorf("report: %s: %w", i.name, err)
			}
		}
		fmt.Fprintf(&b, "## %s\n\n![%s](%s.png)\n\n", i.alt, i.alt, i.name)
	}
	return renameio.WriteFile(filepath.Join(dir, "sweep.md"), []byte(b.String()), 0o644)
}

func sweepConditions(m predict.Source) string {
	s := fmt.Sprintf("%s, %s, %d threads, kernels %s, weights %s, activations %s, KV cache %s", m.Device, m.CPU, m.Threads, m.Kernels, m.Weights, m.Activations, m.KVType())
	if m.ClockMHz > 0 {
		s += fmt.Sprintf(", %.0f MHz", m.ClockMHz)
	}
	if m.Driver != "" {
		s += ", driver " + m.Driver
	}
	if m.ReadGBps > 0 {
		s += fmt.Sprintf(", reads %s GB/s", number(m.ReadGBps))
	}
	if m.FMAGflops > 0 {
		s += fmt.Sprintf(", multiply-add peak %s GFLOP/s", number(m.FMAGflops))
	}
	return fmt.Sprintf("%s; commit %s, %s, %s", s, m.Commit, m.Go, m.Date)
}

// SweepVerdict says in a few lines what a latency table shows.
func SweepVerdict(t *predict.Table) string {
	var b strings.Builder
	for _, phase := range []device.Phase{device.Prefill, device.Decode} {
		p := t.FinestPass(phase)
		if p == nil {
			continue
		}
		s := largest(t.Model.Shapes)
		fmt.Fprintf(&b, "%s, batch %d, %s tokens: a neuron costs %s us a layer, a KV head with its query heads %s us a layer.\n",
			p.Phase, p.Batch, number(p.Tokens), number(1e3*p.PerNeuron()), number(1e3*p.PerKVHead(s.Heads/max(1, s.KVHeads))))
		if p.Disturbed {
			continue // jumps would be those of the other load
		}
		if steps := p.Steps(); len(steps) > 0 {
			var at []string
			for _, x := range steps {
				at = append(at, fmt.Sprint(x.Width))
			}
			fmt.Fprintf(&b, "  The time jumps at the widths %s.\n", strings.Join(at, ", "))
		} else if len(p.MLP) > 12 {
			fmt.Fprintf(&b, "  The time has no jumps between the measured widths.\n")
		}
		if odd, round, ok := equalWidths(p); ok {
			fmt.Fprintf(&b, "  %s.\n", compareWidths(odd, round))
		}
	}
	if share, n := t.Penalty(func(int) bool { return true }); n > 0 {
		fmt.Fprintf(&b, "Widths that are no multiples of 64 take %+.1f %% of what a line through the multiples gives (median of %d).\n", 100*share, n)
	}
	if m, ok := t.RoundTo(); ok && m > 1 {
		fmt.Fprintf(&b, "Round widths to multiples of %d: --round-to auto does so.\n", m)
	} else if ok {
		b.WriteString("Odd widths are free: rounding would save nothing.\n")
	}
	if t.Disturbed() {
		b.WriteString("Some passes were measured on a busy machine only: their times are too long, and widths are not compared.\n")
	}
	return b.String()
}

// largest is the shape with the most heads.
func largest(shapes []config.LayerShape) (s config.LayerShape) {
	for _, x := range shapes {
		if x.Heads >= s.Heads {
			s = x
		}
	}
	return s
}

// equalWidths finds an odd width and the next round one above it, at most 64 wider.
func equalWidths(p *predict.Pass) (odd, round predict.WidthCost, ok bool) {
	widths := p.Widths()
	for i := len(widths) - 1; i >= 0; i-- {
		if widths[i].Width%2 == 0 {
			continue
		}
		for _, w := range widths[i:] {
			if w.Width%64 == 0 && w.Width-widths[i].Width <= 64 {
				return widths[i], w, true
			}
		}
	}
	return odd, round, false
}

// compareWidths says whether two widths cost the same: whether their intervals overlap.
func compareWidths(odd, round predict.WidthCost) string {
	cost, size := percent(odd.MS/round.MS), percent(float64(odd.Width)/float64(round.Width))
	if odd.Lo <= round.Hi && round.Lo <= odd.Hi {
		return fmt.Sprintf("Width %d costs what %d costs: %s of it, with overlapping 95 %% intervals, for %s of its parameters", odd.Width, round.Width, cost, size)
	}
	return fmt.Sprintf("Width %d costs %s of what %d costs, for %s of its parameters", odd.Width, cost, round.Width, size)
}

func sweepPlots(t *predict.Table) ([]image, error) {
	var images []image
	for _, phase := range []device.Phase{device.Prefill, device.Decode} {
		p := t.FinestPass(phase)
		if p == nil {
			continue
		}
		for _, f := range []func(*predict.Pass) (image, error){mlpSweepPlot, headSweepPlot} {
			img, err := f(p)
			if err != nil {
				return nil, err
			}
			images = append(images, img)
		}
	}
	for _, f := range []func(*predict.Table) (image, bool, error){contextPlot, wholePlot, rooflinePlot} {
		img, ok, err := f(t)
		if err != nil {
			return nil, err
		}
		if ok {
			images = append(images, img)
		}
	}
	return images, nil
}

func mlpSweepPlot(p *predict.Pass) (image, error) {
	var l line
	for _, w := range p.Widths() {
		l.points = append(l.points, point{float64(w.Width), w.MS, min(w.Lo, w.MS), max(w.Hi, w.MS)})
	}
	title := fmt.Sprintf("MLP block, %s, batch %d, %s tokens", p.Phase, p.Batch, number(p.Tokens))
	return sweepCurve("mlp-"+p.Phase, title, "Neurons", []line{l})
}

func headSweepPlot(p *predict.Pass) (image, error) {
	var l line
	for _, a := range p.Attention {
		l.points = append(l.points, point{float64(a.Heads), a.Total(), a.QKV.Lo + a.Attend.Lo + a.Output.Lo, a.QKV.Hi + a.Attend.Hi + a.Output.Hi})
	}
	title := fmt.Sprintf("Attention block, %s, batch %d, %s tokens", p.Phase, p.Batch, number(p.Tokens))
	return sweepCurve("heads-"+p.Phase, title, "Query heads", []line{l})
}

// contextPlot shows the attention block of the largest shape against the context.
func contextPlot(t *predict.Table) (image, bool, error) {
	var lines []line
	longest := 0
	for _, phase := range []string{"prefill", "decode"} {
		l := line{name: phase}
		for _, p := range t.Passes {
			if p.Phase == phase && p.Batch == 1 && len(p.Attention) > 0 {
				a := p.Attention[len(p.Attention)-1]
				l.points = append(l.points, point{p.Tokens, a.Total(), a.Total(), a.Total()})
			}
		}
		longest = max(longest, len(l.points))
		if len(l.points) > 1 {
			lines = append(lines, l)
		}
	}
	if longest < 2 {
		return image{}, false, nil
	}
	img, err := sweepCurve("context", "Attention block of the dense model against prompt and context", "Tokens", lines)
	return img, true, err
}

// wholePlot shows measured decode steps of whole models, as a share of the largest one.
func wholePlot(t *predict.Table) (image, bool, error) {
	byWhat := map[string]*line{}
	var order []string
	for _, w := range t.Whole {
		if w.Phase != "decode" {
			continue
		}
		x := map[string]float64{"mlp": float64(w.Shape.Intermediate), "heads": float64(w.Shape.Heads), "kv": float64(w.Shape.KVHeads), "layers": float64(w.Layers)}[w.What]
		if byWhat[w.What] == nil {
			byWhat[w.What] = &line{name: w.What}
			order = append(order, w.What)
		}
		byWhat[w.What].points = append(byWhat[w.What].points, point{x, w.Time.MS, w.Time.Lo, w.Time.Hi})
	}
	var lines []line
	for _, what := range order {
		l := byWhat[what]
		most := 0.0
		for _, p := range l.points {
			most = max(most, p.x)
		}
		for i := range l.points {
			l.points[i].x *= 100 / most
		}
		if len(l.points) > 1 {
			lines = append(lines, *l)
		}
	}
	if len(lines) == 0 {
		return image{}, false, nil
	}
	img, err := sweepCurve("whole", "Decode step of whole models", "Share of the dense model's size (%)", lines)
	return img, true, err
}

func sweepCurve(name, title, x string, series []line) (image, error) {
	p := newPlot(title+" (median, 95 % interval)", x, "Time (ms)")
	if err := addLines(p, series); err != nil {
		return image{}, err
	}
	_, high := span(series)
	p.X.Min, p.Y.Min, p.Y.Max = 0, 0, 1.1*high
	return curve(name, title, p)
}

// rooflinePlot shows each operation of the dense shape: operations per byte, and the
// rate that it reaches, below the machine's bounds.
func rooflinePlot(t *predict.Table) (image, bool, error) {
	m := t.Machine
	if m.ReadGBps <= 0 {
		return image{}, false, nil
	}
	p := newPlot("Roofline: operations of a layer", "Operations per byte (logarithmic)", "GFLOP/s (logarithmic)")
	p.X.Tick.Marker, p.Y.Tick.Marker = logTicks{}, logTicks{}
	points := RooflinePoints(t)
	if len(points) == 0 {
		return image{}, false, nil
	}
	low, high := math.Inf(1), math.Inf(-1)
	byOp := map[string]plotter.XYs{}
	var names []string
	for _, q := range points {
		name := q.Phase + " " + q.Op
		if byOp[name] == nil {
			names = append(names, name)
		}
		byOp[name] = append(byOp[name], plotter.XY{X: math.Log10(q.Intensity), Y: math.Log10(q.Gflops)})
		low, high = min(low, math.Log10(q.Intensity)), max(high, math.Log10(q.Intensity))
	}
	low, high = math.Floor(low), math.Ceil(high+0.01)
	roof := plotter.NewFunction(func(x float64) float64 { return math.Log10(roofAt(m, math.Pow(10, x))) })
	roof.LineStyle = draw.LineStyle{Color: gray(0x40), Width: 1.5}
	roof.Samples, roof.XMin, roof.XMax = 200, low, high
	p.Add(roof)
	p.Legend.Add("roofline", roof)
	glyphs := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.PyramidGlyph{}}
	for i, name := range names {
		s, err := plotter.NewScatter(byOp[name])
		if err != nil {
			return image{}, false, err
		}
		shape := glyphs[0]
		if strings.HasPrefix(name, "decode") {
			shape = glyphs[1]
		}
		s.GlyphStyle = draw.GlyphStyle{Color: plotColor(i), Radius: 3.5, Shape: shape}
		p.Add(s)
		p.Legend.Add(name, s)
	}
	p.X.Min, p.X.Max = low, high
	p.Y.Max = math.Ceil(math.Log10(roofAt(m, math.Pow(10, high))))
	p.Y.Min = p.Y.Max - 4
	p.Legend.Top, p.Legend.Left, p.Legend.YOffs = false, false, 10
	img, err := curve("roofline", "Roofline: operations per byte and achieved rate", p)
	return img, err == nil, err
}

// roofAt is the most GFLOP/s that the roofline allows at so many operations per byte.
func roofAt(m predict.Source, intensity float64) float64 {
	if m.FMAGflops <= 0 {
		return m.ReadGBps * intensity
	}
	return min(m.ReadGBps*intensity, m.FMAGflops)
}

// RooflinePoint is one operation of the dense shape in one pass.
type RooflinePoint struct {
	Phase, Op string
	Batch     int
	Tokens    float64
	Intensity float64 // operations per byte
	Gflops    float64 // achieved
	Share     float64 // of the roofline at that intensity
}

// RooflinePoints computes them for all passes of a table.
func RooflinePoints(t *predict.Table) []RooflinePoint {
	var out []RooflinePoint
	for i := range t.Passes {
		p := &t.Passes[i]
		add := func(op string, flops, bytes, ms float64) {
			if flops > 0 && bytes > 0 && ms > 0 {
				q := RooflinePoint{Phase: p.Phase, Op: op, Batch: p.Batch, Tokens: p.Tokens, Intensity: flops / bytes, Gflops: flops / ms / 1e6}
				q.Share = q.Gflops / roofAt(t.Machine, q.Intensity)
				out = append(out, q)
			}
		}
		for _, w := range t.PassWork(p) {
			add(w.Op, w.Flops, w.Bytes, w.MS)
		}
	}
	return out
}
