package report

import (
	"fmt"
	"image/color"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// maxPanels bounds the height of the drawing, in models.
const maxPanels = 24

// widthsPlot shows what is left of each layer: for each model a row of two panels, heads
// and neurons, in front of those of the dense model in gray. The place of a removed layer
// is empty. ok is false if no pruned model has layers.
func widthsPlot(entries []Entry) (img image, ok bool, err error) {
	dense := entries[0].Layers
	var models []Entry
	layers := 0
	for i, e := range entries {
		if len(e.Layers) == 0 {
			continue
		}
		if i > 0 {
			models = append(models, e)
		}
		for _, l := range e.Layers {
			layers = max(layers, l.From+1)
		}
	}
	if len(models) == 0 {
		return image{}, false, nil
	}
	title := "What is left of each layer (gray: dense)"
	if len(models) > maxPanels {
		title = fmt.Sprintf("What is left of each layer (gray: dense; %d of %d models)", maxPanels, len(models))
		models = models[:maxPanels]
	}
	heads := func(l Layer) int { return l.Heads }
	neurons := func(l Layer) int { return l.MLP }
	panels := make([][]*plot.Plot, len(models))
	for i, e := range models {
		left := widthPanel(short(e.Model)+": "+kept(dense, e.Layers, heads)+" query heads", layers, dense, e.Layers, heads, plotColor(0))
		right := widthPanel(short(e.Model)+": "+kept(dense, e.Layers, neurons)+" MLP neurons", layers, dense, e.Layers, neurons, plotColor(1))
		if i == len(models)-1 {
			left.X.Label.Text, right.X.Label.Text = "Layer of the dense model", "Layer of the dense model"
		}
		panels[i] = []*plot.Plot{left, right}
	}
	const rowHeight = 1.75 * vg.Inch
	height := rowHeight*vg.Length(len(models)) + 0.6*vg.Inch
	img, err = render("widths", "Heads and neurons of each layer", 9*vg.Inch, height, func(c draw.Canvas) {
		c.FillText(newPlot("", "", "").Title.TextStyle, vg.Point{X: c.Center().X, Y: c.Max.Y}, title)
		c.Max.Y -= 30
		tiles := draw.Tiles{Rows: len(models), Cols: 2, PadX: 18, PadY: 2}
		for i, row := range panels {
			for j, panel := range row {
				panel.Draw(tiles.At(c, j, i))
			}
		}
	})
	return img, err == nil, err
}

// short is the end of a name, which is where names of one report differ, as long
// as a panel's title has room for.
func short(name string) string {
	const room = 28
	if r := []rune(name); len(r) > room {
		return "…" + string(r[len(r)-room+1:])
	}
	return name
}

// kept counts what is left over all layers: "163 of 192".
func kept(dense, layers []Layer, width func(Layer) int) string {
	total := func(layers []Layer) (n int) {
		for _, l := range layers {
			n += width(l)
		}
		return n
	}
	if len(dense) == 0 {
		return fmt.Sprint(total(layers))
	}
	return fmt.Sprintf("%d of %d", total(layers), total(dense))
}

func widthPanel(title string, layers int, dense, pruned []Layer, width func(Layer) int, fill color.Color) *plot.Plot {
	p := newPlot(title, " ", "") // room for a label in every row: all panels are of one size
	p.Title.TextStyle.Font = sans(10, xfont.WeightBold)
	p.Title.Padding = 6
	behind, front := layerBars(layers, dense, width, gray(0xd4)), layerBars(layers, pruned, width, fill)
	p.Add(behind, front)
	p.X.Min, p.X.Max = -0.7, float64(layers)-0.3
	p.Y.Min, p.Y.Max = 0, 1.12*max(1, behind.top(), front.top())
	p.X.Tick.Marker = ticks{about: 8, whole: true}
	p.Y.Tick.Marker = ticks{about: 5, whole: true}
	return p
}

// bars draws a bar from zero at each whole x.
type bars struct {
	heights []float64
	fill    color.Color
}

func layerBars(layers int, of []Layer, width func(Layer) int, fill color.Color) bars {
	b := bars{heights: make([]float64, layers), fill: fill}
	for _, l := range of {
		b.heights[l.From] = float64(width(l))
	}
	return b
}

func (b bars) top() float64 {
	top := 0.0
	for _, h := range b.heights {
		top = max(top, h)
	}
	return top
}

// Plot implements plot.Plotter.
func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, h := range b.heights {
		if h == 0 {
			continue
		}
		left, right := x(float64(i)-0.4), x(float64(i)+0.4)
		c.FillPolygon(b.fill, []vg.Point{{X: left, Y: y(0)}, {X: right, Y: y(0)}, {X: right, Y: y(h)}, {X: left, Y: y(h)}})
	}
}
