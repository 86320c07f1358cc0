package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"sort"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	plotWidth  = 7 * vg.Inch
	plotHeight = 4.5 * vg.Inch
	plotDPI    = 144
	margin     = 12 // points around a plot
)

// plotColor is the n-th of Okabe and Ito's colors, which differ for every kind
// of color vision.
func plotColor(n int) color.Color {
	colors := []color.Color{
		color.RGBA{0x00, 0x72, 0xb2, 0xff}, // blue
		color.RGBA{0xd5, 0x5e, 0x00, 0xff}, // vermilion
		color.RGBA{0x00, 0x9e, 0x73, 0xff}, // green
		color.RGBA{0xcc, 0x79, 0xa7, 0xff}, // purple
		color.RGBA{0xe6, 0x9f, 0x00, 0xff}, // orange
		color.RGBA{0x56, 0xb4, 0xe9, 0xff}, // sky
	}
	return colors[n%len(colors)]
}

func gray(level uint8) color.Color { return color.Gray{Y: level} }

func sans(points vg.Length, weight xfont.Weight) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Weight: weight, Size: points}
}

// newPlot is an empty plot in the style of all plots.
func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.TextStyle.Font = sans(14, xfont.WeightBold)
	p.Title.Padding = 10
	for _, a := range []struct {
		axis  *plot.Axis
		label string
	}{{&p.X, x}, {&p.Y, y}} {
		a.axis.Label.Text = a.label
		a.axis.Label.TextStyle.Font = sans(11, xfont.WeightNormal)
		a.axis.Label.Padding = 6
		a.axis.Tick.Label.Font = sans(10, xfont.WeightNormal)
		a.axis.Tick.Marker = ticks{about: 8}
		a.axis.Tick.LineStyle.Color = gray(0x60)
		a.axis.LineStyle.Color = gray(0x60)
	}
	p.Legend.TextStyle.Font = sans(10, xfont.WeightNormal)
	p.Legend.Padding = 3
	p.Legend.ThumbnailWidth = 24
	p.Legend.Left = true
	p.Legend.XOffs = 10
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gray(0xdc), gray(0xdc)
	p.Add(grid)
	return p
}

// image is one drawing in both formats.
type image struct {
	name     string // of the files, without their ending
	alt      string
	png, svg []byte
}

// render draws at the given size on both kinds of canvas.
func render(name, alt string, width, height vg.Length, paint func(draw.Canvas)) (image, error) {
	img := image{name: name, alt: alt}
	var png, svg bytes.Buffer

	raster := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(plotDPI))
	paint(draw.Crop(draw.New(raster), margin, -margin, margin, -margin))
	if _, err := (vgimg.PngCanvas{Canvas: raster}).WriteTo(&png); err != nil {
		return img, fmt.Errorf("%s.png: %w", name, err)
	}

	vector := vgsvg.New(width, height)
	canvas := draw.New(vector)
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Rectangle.Path()) // dark page or not
	paint(draw.Crop(canvas, margin, -margin, margin, -margin))
	if _, err := vector.WriteTo(&svg); err != nil {
		return img, fmt.Errorf("%s.svg: %w", name, err)
	}
	// Where the font is not installed, one of the same widths, not a serif.
	fonts := []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")
	img.png, img.svg = png.Bytes(), bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"), fonts)
	return img, nil
}

// point is one model in a plot; low and high are absolute ends of its bar, both
// equal to y where it has none.
type point struct{ x, y, low, high float64 }

// points are plotter's XYer and YErrorer.
type points []point

func (p points) Len() int                         { return len(p) }
func (p points) XY(i int) (x, y float64)          { return p[i].x, p[i].y }
func (p points) YError(i int) (low, high float64) { return p[i].y - p[i].low, p[i].high - p[i].y }

// barred are the points with a bar that has a length.
func (p points) barred() (out points) {
	for _, q := range p {
		if q.low < q.high {
			out = append(out, q)
		}
	}
	return out
}

// line is a series in a plot.
type line struct {
	name   string
	points points
}

// lines sorts entries into series by compression in percent, each beginning
// with the dense model; value is nil for an entry that has none.
func lines(entries []Entry, value func(*Entry) *point) []line {
	var out []line
	place := map[string]int{}
	for i := range entries[1:] {
		e := &entries[i+1]
		v := value(e)
		if v == nil {
			continue
		}
		v.x = 100 * e.Compression
		n, there := place[e.Series]
		if !there {
			n = len(out)
			place[e.Series] = n
			out = append(out, line{name: e.Series})
		}
		out[n].points = append(out[n].points, *v)
	}
	if dense := value(&entries[0]); dense != nil {
		dense.x = 100 * entries[0].Compression
		for i := range out {
			out[i].points = append(out[i].points, *dense)
		}
	}
	for _, l := range out {
		sort.SliceStable(l.points, func(i, j int) bool { return l.points[i].x < l.points[j].x })
	}
	return out
}

// addLines draws series with markers and bars.
func addLines(p *plot.Plot, series []line) error {
	glyphs := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}}
	for i, s := range series {
		l, marks, err := plotter.NewLinePoints(s.points)
		if err != nil {
			return err
		}
		l.LineStyle = draw.LineStyle{Color: plotColor(i), Width: 1.5}
		marks.GlyphStyle = draw.GlyphStyle{Color: plotColor(i), Radius: 3.5, Shape: glyphs[i%len(glyphs)]}
		if barred := s.points.barred(); len(barred) > 0 {
			bars, err := plotter.NewYErrorBars(barred)
			if err != nil {
				return err
			}
			bars.LineStyle = draw.LineStyle{Color: plotColor(i), Width: 1.2}
			bars.CapWidth = 8
			p.Add(bars)
		}
		p.Add(l, marks)
		label := s.name
		if label == "" {
			label = "measured"
		}
		p.Legend.Add(label, l, marks)
	}
	return nil
}

// maxValues is how many points may have their value beside them.
const maxValues = 8

// addValues writes each point's value to its right, on the free side of the
// curve: above it where it falls, below it where it rises; not where there
// would be a crowd.
func addValues(p *plot.Plot, series []line, show func(y float64) string, falls bool) error {
	if len(series) != 1 || len(series[0].points) > maxValues {
		return nil
	}
	var at plotter.XYLabels
	for _, q := range series[0].points {
		at.XYs = append(at.XYs, plotter.XY{X: q.x, Y: q.y})
		at.Labels = append(at.Labels, show(q.y))
	}
	labels, err := plotter.NewLabels(at)
	if err != nil {
		return err
	}
	align := draw.YTop
	labels.Offset = vg.Point{X: 7, Y: -3}
	if falls {
		align = draw.YBottom
		labels.Offset.Y = 4
	}
	for i := range labels.TextStyle {
		labels.TextStyle[i].Font = sans(10, xfont.WeightNormal)
		labels.TextStyle[i].XAlign, labels.TextStyle[i].YAlign = draw.XLeft, align
	}
	p.Add(labels)
	return nil
}

// addIdeal draws y(compression) as a dashed line over the whole x axis.
func addIdeal(p *plot.Plot, name string, y func(c float64) float64) {
	f := plotter.NewFunction(func(percent float64) float64 { return y(percent / 100) })
	f.Samples = 200
	f.LineStyle = draw.LineStyle{Color: gray(0x80), Width: 1.2, Dashes: []vg.Length{5, 4}}
	p.Add(f)
	p.Legend.Add(name, f)
}

// compressionAxis covers all entries and zero, with some room.
func compressionAxis(p *plot.Plot, entries []Entry) {
	low, high := 0.0, 0.05
	for _, e := range entries {
		low, high = min(low, e.Compression), max(high, e.Compression)
	}
	p.X.Min, p.X.Max = 100*(low*1.05), min(100*high*1.12, 99)
}

// span is the smallest and largest value of series, bars included.
func span(series []line) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, l := range series {
		for _, p := range l.points {
			low, high = min(low, p.y, p.low), max(high, p.y, p.high)
		}
	}
	return low, high
}
