// Package browser tests the page of the server in a real browser.
package browser

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"mop/runtime/server/external/served"
)

// open starts a headless browser and opens the page of a server.
func open(t *testing.T, url string) context.Context {
	t.Helper()
	ctx := start(t)
	show(t, ctx, url)
	return ctx
}

// show opens the page of a server and waits for its models.
func show(t *testing.T, ctx context.Context, url string) {
	t.Helper()
	do(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(url), chromedp.WaitVisible("#models section"))
}

// do runs actions one after another.
func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	for i, a := range actions {
		if _, err := chromedp.Run(ctx, a); err != nil {
			t.Fatalf("action %d: %v", i, err)
		}
	}
}

// start starts a headless browser.
func start(t *testing.T) context.Context {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("there is no Chromium or Chrome to open the page with")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.WSURLReadTimeout(time.Minute))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(stop)
	return ctx
}

// value gives what an expression of the page is.
func value[T any](t *testing.T, ctx context.Context, expression string) (v T) {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// send writes a message and waits until all answers are there.
func send(t *testing.T, ctx context.Context, message string) {
	t.Helper()
	do(t, ctx,
		chromedp.SetValue("#tokens", "24"),
		chromedp.SendKeys("#message", message+"\r"),
		chromedp.WaitEnabled("#send"),
		chromedp.Poll[chromedp.Void]("!running"))
}

const texts = `[...document.querySelectorAll("#models .turns")].map(turns => [...turns.children].map(p => p.className + ": " + p.textContent))`

// Two models answer side by side, each with its time to the first token and its tokens a second;
// one model that is served twice gives the same text. The conversation continues, and a new one can be started.
func TestTwoModels(t *testing.T) {
	url := served.Start(t, "", served.Demo("dense"), served.Demo("pruned"))
	ctx := open(t, url)
	if got := value[[]string](t, ctx, `[...document.querySelectorAll("h2")].map(h => h.textContent)`); len(got) != 2 || !strings.HasPrefix(got[0], "dense (2.8 M parameters") || !strings.HasPrefix(got[1], "pruned (") {
		t.Fatalf("want two models, got %q", got)
	}
	a, b := value[float64](t, ctx, `document.querySelectorAll("section")[0].getBoundingClientRect().top`), value[float64](t, ctx, `document.querySelectorAll("section")[1].getBoundingClientRect().top`)
	if a != b {
		t.Errorf("want the models side by side, got them at heights %v and %v", a, b)
	}
	send(t, ctx, "Tell me a story.")
	got := value[[][]string](t, ctx, texts)
	for _, turns := range got {
		if len(turns) != 2 || turns[0] != "user: Tell me a story." || !strings.HasPrefix(turns[1], "assistant: ") || len(turns[1]) < 20 {
			t.Errorf("got %q", turns)
		}
	}
	if len(got) == 2 && got[0][1] != got[1][1] {
		t.Errorf("want the same text of the same model, got %q", got)
	}
	for _, figures := range value[[]string](t, ctx, `[...document.querySelectorAll(".figures")].map(f => f.textContent)`) {
		if !strings.Contains(figures, "first token ") || !strings.Contains(figures, " ms, 24 tokens, ") || !strings.HasSuffix(figures, " tokens/s") {
			t.Errorf("got the figures %q", figures)
		}
	}
	send(t, ctx, "And then?")
	if got := value[[][]string](t, ctx, texts); len(got[0]) != 4 || len(got[1]) != 4 {
		t.Errorf("a second message: got %q", got)
	}
	do(t, ctx, chromedp.Click("#reset"))
	if got := value[[][]string](t, ctx, texts); len(got[0]) != 0 || len(got[1]) != 0 {
		t.Errorf("a new conversation: got %q", got)
	}
}

// A picture goes to the models that take some, and an error of the server is shown.
func TestPicture(t *testing.T) {
	url := served.Start(t, "", served.Model{Name: "eyes", Dir: "runtime/vision/testdata/models/dense"}, served.Demo("texts"))
	ctx := open(t, url)
	picture := mustAbs(t, "../../../vision/testdata/pictures/rgb.png")
	do(t, ctx, chromedp.WaitVisible("#picture"), chromedp.SetUploadFiles("#picture", []string{picture}))
	send(t, ctx, "What is in this picture?")
	got := value[[][]string](t, ctx, texts)
	for _, turns := range got {
		if len(turns) != 2 || !strings.HasPrefix(turns[1], "assistant: ") || len(turns[1]) < 15 {
			t.Errorf("got %q", turns)
		}
	}
	if n := value[int](t, ctx, `document.querySelectorAll(".turns")[0].querySelectorAll("img").length`); n != 1 {
		t.Errorf("want the picture shown, got %d", n)
	}
	if n := value[int](t, ctx, `document.querySelectorAll(".turns")[1].querySelectorAll("img").length`); n != 0 {
		t.Errorf("want no picture for a model of texts, got %d", n)
	}
	do(t, ctx, chromedp.SetUploadFiles("#picture", []string{mustAbs(t, "browser_test.go")}))
	send(t, ctx, "And this?")
	turns := value[[][]string](t, ctx, texts)[0]
	if last := turns[len(turns)-1]; !strings.HasPrefix(last, "error: ") || !strings.Contains(last, "want a picture") {
		t.Errorf("a file that is no picture: got %q", last)
	}
}

func mustAbs(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
