package clients

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"mop/runtime/device/cpu"
	"mop/runtime/engine"
	"mop/runtime/server"
)

// start serves the demo's model and gives the server's address.
func start(t *testing.T, key string) string {
	t.Helper()
	dev, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	m, err := server.Load(dev, server.Spec{Name: "demo", Dir: "../../../bench/demo/model", Chat: "llama-2", Engine: engine.Options{MaxBatch: 2}})
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(server.Options{APIKey: key})
	s.SetModels(m)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- server.RunEngines(ctx, m) }()
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		web.Close()
		stop()
		<-ended
		m.Close()
		dev.Close()
	})
	return web.URL
}

// The official Go client of OpenAI: models, completions and chats, whole and streamed, and errors.
func TestOfficialOpenAIClient(t *testing.T) {
	url := start(t, "sk-test")
	client := openai.NewClient(option.WithBaseURL(url+"/v1/"), option.WithAPIKey("sk-test"), option.WithMaxRetries(0))
	ctx := t.Context()
	models, err := client.Models.List(ctx)
	if err != nil || len(models.Data) != 1 || models.Data[0].ID != "demo" {
		t.Fatalf("models: %+v, %v", models, err)
	}
	if m, err := client.Models.Get(ctx, "demo"); err != nil || m.ID != "demo" {
		t.Errorf("model: %+v, %v", m, err)
	}

	completion := openai.CompletionNewParams{Model: "demo", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("Once upon a time")}, MaxTokens: openai.Int(16), Temperature: openai.Float(0), Logprobs: openai.Int(2), Seed: openai.Int(1)}
	whole, err := client.Completions.New(ctx, completion)
	if err != nil {
		t.Fatal(err)
	}
	if c := whole.Choices[0]; c.Text == "" || c.FinishReason != "length" || len(c.Logprobs.Tokens) != 16 || whole.Usage.CompletionTokens != 16 {
		t.Errorf("got %+v", whole)
	}
	text := ""
	stream := client.Completions.NewStreaming(ctx, completion)
	for stream.Next() {
		for _, c := range stream.Current().Choices {
			text += c.Text
		}
	}
	if stream.Err() != nil || text != whole.Choices[0].Text {
		t.Errorf("streamed: want %q, got %q, %v", whole.Choices[0].Text, text, stream.Err())
	}

	chat := openai.ChatCompletionNewParams{
		Model:     "demo",
		Messages:  []openai.ChatCompletionMessageParamUnion{openai.SystemMessage("Be brief."), openai.UserMessage("Tell me a story.")},
		MaxTokens: openai.Int(16), Temperature: openai.Float(0), Logprobs: openai.Bool(true), TopLogprobs: openai.Int(2),
		Stop: openai.ChatCompletionNewParamsStopUnion{OfStringArray: []string{"zzz"}},
	}
	answer, err := client.Chat.Completions.New(ctx, chat)
	if err != nil {
		t.Fatal(err)
	}
	if c := answer.Choices[0]; c.Message.Content == "" || len(c.Logprobs.Content) == 0 || len(c.Logprobs.Content[0].TopLogprobs) != 2 {
		t.Errorf("got %+v", answer)
	}
	chat.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	accumulated := openai.ChatCompletionAccumulator{}
	parts := client.Chat.Completions.NewStreaming(ctx, chat)
	for parts.Next() {
		if !accumulated.AddChunk(parts.Current()) {
			t.Error("the client cannot put the parts together")
		}
	}
	if parts.Err() != nil || accumulated.Choices[0].Message.Content != answer.Choices[0].Message.Content || accumulated.Usage.TotalTokens != answer.Usage.TotalTokens {
		t.Errorf("streamed: want %+v, got %+v, %v", answer, accumulated, parts.Err())
	}

	completion.N = openai.Int(1000000)
	_, err = client.Completions.New(ctx, completion)
	if e := (*openai.Error)(nil); !errors.As(err, &e) || e.StatusCode != 400 || e.Param != "n" || e.Type != "invalid_request_error" {
		t.Errorf("want an error for n, got %v", err)
	}
	wrong := openai.NewClient(option.WithBaseURL(url+"/v1/"), option.WithAPIKey("sk-wrong"), option.WithMaxRetries(0))
	_, err = wrong.Models.List(ctx)
	if e := (*openai.Error)(nil); !errors.As(err, &e) || e.StatusCode != 401 {
		t.Errorf("want status 401, got %v", err)
	}
}
