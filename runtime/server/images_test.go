package server

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mop/runtime/engine"
)

const visionData = "../vision/testdata"

// dataURL is a picture of the test data as an address.
func dataURL(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(visionData, "pictures", name))
	if err != nil {
		t.Fatal(err)
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(data)
}

// question is a case of the golden files of small random LLaVAs, which transformers answered.
type question struct {
	Pictures []string
	Question string
	IDs      []int
	Greedy   []int
	Text     string
}

func questions(t testing.TB, name string) []question {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(visionData, "models", name, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	return decode[struct{ Cases []question }](t, data).Cases
}

// marshal makes a body.
func marshal(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

type object = map[string]any

// A chat about pictures has the tokens and the text of transformers, in each of the three forms
// of a chat, alone and beside others.
func TestImagesInChats(t *testing.T) {
	for _, name := range []string{"dense", "pruned", "flat"} {
		t.Run(name, func(t *testing.T) {
			r := startModel(t, Options{}, engine.Options{}, filepath.Join(visionData, "models", name), "")
			var wg sync.WaitGroup
			for _, c := range questions(t, name) {
				for range 2 {
					wg.Go(func() { r.askAll(c) })
				}
			}
			wg.Wait()
			r.idle()
		})
	}
}

// askAll asks a question in the three forms of a chat.
func (r *running) askAll(c question) {
	var parts, sources, inputs []object
	for _, name := range c.Pictures {
		url := dataURL(r.t, name)
		parts = append(parts, object{"type": "image_url", "image_url": object{"url": url, "detail": "auto"}})
		_, data, _ := strings.Cut(url, ",")
		sources = append(sources, object{"type": "image", "source": object{"type": "base64", "media_type": "image/jpeg", "data": data}})
		inputs = append(inputs, object{"type": "input_image", "image_url": url})
	}
	n := len(c.Greedy)
	text := object{"type": "text", "text": c.Question}
	want := decode[string](r.t, []byte(marshal(r.t, r.model.textOf(c.Greedy)))) // incomplete characters as JSON has them

	status, data := r.post("/v1/chat/completions", marshal(r.t, object{"max_tokens": n, "temperature": 0, "ignore_eos": true, "n": 2,
		"messages": []object{{"role": "user", "content": append(parts, text)}}}))
	if status != 200 {
		r.t.Errorf("status %d: %s", status, data)
		return
	}
	whole := decode[chatCompletion](r.t, data)
	for _, choice := range whole.Choices {
		if got := *choice.Message.Content; got != want || whole.Usage.PromptTokens != len(c.IDs) {
			r.t.Errorf("%s: want %d tokens and %q, got %d and %q", c.Pictures, len(c.IDs), want, whole.Usage.PromptTokens, got)
		}
	}
	_, data = r.post("/v1/messages", marshal(r.t, object{"max_tokens": n, "temperature": 0, "messages": []object{{"role": "user", "content": append(sources, text)}}}))
	if m := decode[message](r.t, data); len(m.Content) != 1 || !strings.HasPrefix(want, m.Content[0].Text) || m.Usage.InputTokens != len(c.IDs) {
		r.t.Errorf("messages: want %d tokens and %q, got %s", len(c.IDs), want, data)
	}
	_, data = r.post("/v1/responses", marshal(r.t, object{"max_output_tokens": n, "temperature": 0,
		"input": []object{{"role": "user", "content": append(inputs, object{"type": "input_text", "text": c.Question})}}}))
	if a := decode[response](r.t, data); len(a.Output) != 1 || !strings.HasPrefix(want, a.Output[0].Content[0].Text) || a.Usage.InputTokens != len(c.IDs) {
		r.t.Errorf("responses: want %d tokens and %q, got %s", len(c.IDs), want, data)
	}
}

// textOf is the text of tokens, as a stream gives it.
func (m *Model) textOf(ids []int) string {
	stream, text := m.Tokenizer.Stream(1), ""
	for _, id := range ids {
		if m.Tokenizer.Has(id) {
			b, _ := stream.Push(id)
			text += string(b)
		}
	}
	return text + string(stream.Flush())
}

// hugePicture is the header of a PNG of 20,000 x 20,000 pixels.
func hugePicture() string {
	header := binary.BigEndian.AppendUint32(nil, 20000)
	header = binary.BigEndian.AppendUint32(header, 20000)
	chunk := append([]byte("IHDR"), append(header, 8, 2, 0, 0, 0)...)
	out := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	out = append(out, chunk...)
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(chunk))
	return base64.StdEncoding.EncodeToString(out)
}

// Pictures that cannot be read, are too many, or are elsewhere are refused before the device has
// anything to do.
func TestBadImages(t *testing.T) {
	r := startModel(t, Options{MaxBody: 1 << 19, MaxImageBody: 1 << 20}, engine.Options{}, filepath.Join(visionData, "models/dense"), "")
	good := dataURL(t, "rgb.png")
	half := good[:len("data:image/png;base64,")+(len(good)-22)/8*4]
	repeat := func(n int) (parts []object) {
		for range n {
			parts = append(parts, object{"type": "image_url", "image_url": object{"url": good}})
		}
		return append(parts, object{"type": "text", "text": "What?"})
	}
	urls := map[string]string{ // by what the error must say
		"addresses are not fetched":             "https://example.com/cat.png",
		"got \"file:///etc/passwd\"":            "file:///etc/passwd",
		"got \"http://169.254.169.254/meta":     "http://169.254.169.254/meta-data",
		"the file is empty":                     "data:image/png;base64,",
		"want base64":                           "data:image/png;base64,%%%",
		"want data:image/png;base64,...":        "data:image/png,abc",
		"want a picture of type image/png":      "data:text/html;base64,aGVsbG8=",
		"a file that starts with \"hello\"":     "data:image/png;base64,aGVsbG8=",
		"want JPEG or PNG, got GIF":             "data:image/gif;base64," + base64.StdEncoding.EncodeToString([]byte("GIF89a......")),
		"PNG":                                   half,
		"pixels, got 20000 x 20000":             "data:image/png;base64," + hugePicture(),
		"url: want a picture as data:image/png": "",
	}
	ask := func(content any) string {
		return marshal(t, object{"max_tokens": 4, "messages": []object{{"role": "user", "content": content}}})
	}
	for want, url := range urls {
		message, param := r.refused("/v1/chat/completions", ask([]object{{"type": "image_url", "image_url": object{"url": url}}}), 400)
		if !strings.Contains(message, want) || !strings.HasPrefix(param, "messages[0].content[0]") {
			t.Errorf("%.40s: want an error with %q, got %q of %q", url, want, message, param)
		}
	}
	for want, content := range map[string]any{
		"want at most 16 pictures, got 17":         repeat(17),
		"longer than the context of 256":           repeat(16),
		"image_url: is required":                   []object{{"type": "image_url"}},
		"url: want a string":                       []object{{"type": "image_url", "image_url": object{"url": 3}}},
		"image_url: want an object":                []object{{"type": "image_url", "image_url": good}},
		"detail: is not supported":                 []object{{"type": "image_url", "image_url": object{"url": good, "detail": "high"}}},
		"a text says <image>, which stands for an": "See <image> here.",
		"want parts of type text or image_url":     []object{{"type": "input_image", "image_url": good}},
	} {
		if message, _ := r.refused("/v1/chat/completions", ask(content), 400); !strings.Contains(message, want) {
			t.Errorf("want an error with %q, got %q", want, message)
		}
	}
	for _, role := range []string{"system", "assistant"} {
		body := marshal(t, object{"messages": []object{{"role": role, "content": repeat(1)}, {"role": "user", "content": "Hi"}}})
		if message, _ := r.refused("/v1/chat/completions", body, 400); !strings.Contains(message, "of the user only") {
			t.Errorf("%s: got %q", role, message)
		}
	}
	for _, source := range []object{{"type": "url", "url": "https://example.com/cat.png"}, {"type": "file", "file_id": "f"}, {}} {
		body := marshal(t, object{"max_tokens": 4, "messages": []object{{"role": "user", "content": []object{{"type": "image", "source": source}}}}})
		status, data := r.post("/v1/messages", body)
		if status != 400 || !strings.Contains(string(data), "are not fetched") {
			t.Errorf("%v: got status %d: %s", source, status, data)
		}
	}
	body := marshal(t, object{"input": []object{{"role": "user", "content": []object{{"type": "input_image", "file_id": "f"}}}}})
	if message, _ := r.refused("/v1/responses", body, 400); !strings.Contains(message, "image_url: is required") {
		t.Errorf("a file: got %q", message)
	}
	image := r.model.vision.Tower.Config.ImageToken
	for _, prompt := range []string{`"<image>"`, fmt.Sprintf(`[1,%d]`, image)} {
		if message, _ := r.refused("/v1/completions", `{"prompt":`+prompt+`}`, 400); !strings.Contains(message, "stands for a picture") {
			t.Errorf("%s: got %q", prompt, message)
		}
	}
	r.refused("/v1/chat/completions", `{"messages":"`+strings.Repeat("a", 1<<20)+`"}`, 413)
	r.refused("/v1/completions", `{"prompt":"`+strings.Repeat("a", 1<<19)+`"}`, 413) // has no pictures
	if steps := r.model.Engine.Stats().Steps; steps != 0 {
		t.Errorf("want nothing computed, got %d steps", steps)
	}
	r.complete(`{"prompt":[1,2,3],"max_tokens":2}`)
}

// A model without a vision tower refuses pictures.
func TestImagesForTextModel(t *testing.T) {
	r := start(t, Options{}, engine.Options{})
	body := marshal(t, object{"messages": []object{{"role": "user", "content": []object{{"type": "image_url", "image_url": object{"url": dataURL(t, "rgb.png")}}}}}})
	message, param := r.refused("/v1/chat/completions", body, 400)
	if !strings.Contains(message, "takes texts only") || param != "messages[0].content" {
		t.Errorf("got %q of %q", message, param)
	}
	if steps := r.model.Engine.Stats().Steps; steps != 0 {
		t.Errorf("want nothing computed, got %d steps", steps)
	}
}
