package report

import (
	"fmt"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Curve is a named series of points, for plots that are not about compression.
type Curve struct {
	Name string
	X, Y []float64
}

// WriteCurves draws curves to DIR/NAME.png and DIR/NAME.svg. The y axis begins at 0.
func WriteCurves(dir, name, title, x, y string, curves []Curve) error {
	var series []line
	for _, c := range curves {
		l := line{name: c.Name}
		for i := range c.X {
			l.points = append(l.points, point{x: c.X[i], y: c.Y[i], low: c.Y[i], high: c.Y[i]})
		}
		series = append(series, l)
	}
	p := newPlot(title, x, y)
	if err := addLines(p, series); err != nil {
		return fmt.Errorf("report: %s: %w", name, err)
	}
	_, high := span(series)
	p.Y.Min, p.Y.Max = 0, 1.2*high
	img, err := curve(name, title, p)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for ending, body := range map[string][]byte{".png": img.png, ".svg": img.svg} {
		if err := renameio.WriteFile(filepath.Join(dir, name+ending), body, 0o644); err != nil {
			return fmt.Errorf("report: %s: %w", name, err)
		}
	}
	return nil
}
