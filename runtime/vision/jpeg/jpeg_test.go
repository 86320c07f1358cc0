package jpeg

import (
	"bytes"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"
)

// Without subsampled chroma, the pixels are those of image/jpeg to the levels by which
// inverse transforms round differently. The exact pixels are tested in runtime/vision, against Pillow's.
func TestAgainstStandardLibrary(t *testing.T) {
	for _, name := range []string{"j444.jpg", "grey.jpg"} {
		data, err := os.ReadFile(filepath.Join("../testdata/pictures", name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		pix, w, h, err := Decode(data)
		if err != nil || w != want.Bounds().Dx() || h != want.Bounds().Dy() {
			t.Fatalf("%s: got %d x %d, %v, want %v", name, w, h, err, want.Bounds())
		}
		sum := 0
		for y := range h {
			for x := range w {
				r, g, b, _ := want.At(x, y).RGBA()
				for i, v := range []uint32{r, g, b} {
					d := int(pix[3*(y*w+x)+i]) - int(v>>8)
					sum += max(d, -d)
				}
			}
		}
		if mean := float64(sum) / float64(len(pix)); mean > 1 {
			t.Errorf("%s: the pixels are %.1f levels apart on average", name, mean)
		}
	}
}
