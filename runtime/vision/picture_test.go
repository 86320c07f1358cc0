package vision

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/testutil"
)

// Every picture is, in every pixel and channel, within one level of what transformers'
// processor gives; testdata/pictures.py makes the expected values.
func TestLevelsGolden(t *testing.T) {
	var golden struct {
		Normalized []float64
		Cases      []struct {
			Picture, Golden string
			Size            sides
			Crop            [2]int
			Pad             bool
			Step            int
		}
	}
	data, err := os.ReadFile("testdata/pixels.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 80 {
		t.Fatalf("want at least 80 cases, got %d", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		t.Run(strings.TrimSuffix(c.Golden, ".png"), func(t *testing.T) {
			path := filepath.Join("testdata/pictures", c.Picture)
			if strings.HasPrefix(c.Picture, "llava/") {
				path = testutil.DataPath(t, c.Picture)
			}
			m, err := ReadPicture(path)
			if err != nil {
				t.Fatal(err)
			}
			want, err := ReadPicture(filepath.Join("testdata/golden", c.Golden))
			if err != nil {
				t.Fatal(err)
			}
			p := CLIPProcessor(28)
			p.ShortestEdge, p.Width, p.Height = c.Size.Shortest, c.Size.Width, c.Size.Height
			p.CropHeight, p.CropWidth, p.Pad = c.Crop[0], c.Crop[1], c.Pad
			got := p.Levels(m)
			differ, largest := 0, 0
			for y := range want.Height {
				for x := range want.Width {
					for i := range 3 {
						d := int(got.Pix[3*(y*c.Step*got.Width+x*c.Step)+i]) - int(want.Pix[3*(y*want.Width+x)+i])
						if d != 0 {
							differ++
						}
						largest = max(largest, d, -d)
					}
				}
			}
			if largest > 1 {
				t.Errorf("want at most 1 level apart, got %d; %d of %d values differ", largest, differ, len(want.Pix))
			}
			t.Logf("%d of %d values differ, by at most %d", differ, len(want.Pix), largest)
		})
	}
	m, err := ReadPicture("testdata/pictures/rgb.png")
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range CLIPProcessor(4).Pixels(m) {
		if d := float64(v) - golden.Normalized[i]; d > 2e-6 || d < -2e-6 {
			t.Errorf("value %d: want %v, got %v", i, golden.Normalized[i], v)
		}
	}
}
