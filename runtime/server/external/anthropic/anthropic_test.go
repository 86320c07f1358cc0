package anthropic

import (
	"encoding/base64"
	"errors"
	"os"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"mop/runtime/server/external/served"
)

// The official Go client of Anthropic: messages, whole and streamed, counting, pictures, and
// errors.
func TestOfficialAnthropicClient(t *testing.T) {
	client := anthropic.NewClient(option.WithBaseURL(served.Start(t, "sk-test", served.Demo("demo"), served.Model{Name: "eyes", Dir: "runtime/vision/testdata/models/dense"})), option.WithAPIKey("sk-test"), option.WithMaxRetries(0))
	ctx := t.Context()
	params := anthropic.MessageNewParams{
		Model: "demo", MaxTokens: 16, Temperature: anthropic.Float(0),
		System:   []anthropic.TextBlockParam{{Text: "Be brief."}},
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("Tell me a story."))},
	}
	whole, err := client.Messages.New(ctx, params)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.Content) != 1 || whole.Content[0].Text == "" || whole.Usage.OutputTokens == 0 || whole.StopReason == "" {
		t.Errorf("got %+v", whole)
	}
	var accumulated anthropic.Message
	stream := client.Messages.NewStreaming(ctx, params)
	for stream.Next() {
		if err := accumulated.Accumulate(stream.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if stream.Err() != nil || len(accumulated.Content) != 1 || accumulated.Content[0].Text != whole.Content[0].Text || accumulated.StopReason != whole.StopReason || accumulated.Usage.OutputTokens != whole.Usage.OutputTokens {
		t.Errorf("streamed: want %+v, got %+v, %v", whole, accumulated, stream.Err())
	}
	count, err := client.Messages.CountTokens(ctx, anthropic.MessageCountTokensParams{Model: "demo", Messages: params.Messages})
	if err != nil || count.InputTokens < 2 {
		t.Errorf("got %+v, %v", count, err)
	}
	picture, err := os.ReadFile("../../../vision/testdata/pictures/rgb.png")
	if err != nil {
		t.Fatal(err)
	}
	seen := anthropic.MessageNewParams{Model: "eyes", MaxTokens: 8, Temperature: anthropic.Float(0), Messages: []anthropic.MessageParam{
		anthropic.NewUserMessage(anthropic.NewImageBlockBase64("image/png", base64.StdEncoding.EncodeToString(picture)), anthropic.NewTextBlock("What is in this picture?"))}}
	if m, err := client.Messages.New(ctx, seen); err != nil || m.Usage.InputTokens != 31 || m.Content[0].Text == "" {
		t.Errorf("a picture: got %+v, %v", m, err)
	}
	seen.Model = "demo"
	_, err = client.Messages.New(ctx, seen)
	if e := (*anthropic.Error)(nil); !errors.As(err, &e) || e.StatusCode != 400 {
		t.Errorf("a picture for a model of texts: want status 400, got %v", err)
	}
	params.Model = "other"
	_, err = client.Messages.New(ctx, params)
	if e := (*anthropic.Error)(nil); !errors.As(err, &e) || e.StatusCode != 404 {
		t.Errorf("want status 404, got %v", err)
	}
}
