package clients

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"

	"mop/internal/testutil"
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

// The structured outputs of the official client: texts that an independent validator finds valid,
// whole, streamed, several, and as a response.
func TestStructuredOutputs(t *testing.T) {
	url := start(t, "sk-test")
	client := openai.NewClient(option.WithBaseURL(url+"/v1/"), option.WithAPIKey("sk-test"), option.WithMaxRetries(0))
	ctx := t.Context()
	schema := map[string]any{
		"type": "object", "additionalProperties": false, "required": []string{"name", "age", "friends", "mood"},
		"properties": map[string]any{
			"name":    map[string]any{"type": "string", "maxLength": 20},
			"age":     map[string]any{"type": "integer", "minimum": 0, "maximum": 120},
			"friends": map[string]any{"type": "array", "items": map[string]any{"$ref": "#/$defs/friend"}, "maxItems": 2},
			"mood":    map[string]any{"enum": []string{"happy", "sad"}},
		},
		"$defs": map[string]any{"friend": map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string", "pattern": "^[A-Z][a-z]{1,9}$"}}, "required": []string{"name"}, "additionalProperties": false}},
	}
	data, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := testutil.JSONSchema(string(data))
	if err != nil {
		t.Fatal(err)
	}
	valid := func(text string) {
		t.Helper()
		if err := testutil.CheckJSON(compiled, text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	chat := openai.ChatCompletionNewParams{
		Model: "demo", N: openai.Int(3), MaxTokens: openai.Int(300), Temperature: openai.Float(1), Seed: openai.Int(5),
		Messages:       []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Tell me about Lily.")},
		ResponseFormat: openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "person", Description: openai.String("a person"), Strict: openai.Bool(true), Schema: schema}}},
	}
	answer, err := client.Chat.Completions.New(ctx, chat)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range answer.Choices {
		if valid(c.Message.Content); c.FinishReason != "stop" {
			t.Errorf("want the finish reason stop, got %q", c.FinishReason)
		}
	}
	if len(answer.Choices) != 3 || answer.Choices[0].Message.Content == answer.Choices[1].Message.Content {
		t.Errorf("want three samples, got %+v", answer.Choices)
	}
	accumulated := openai.ChatCompletionAccumulator{}
	parts := client.Chat.Completions.NewStreaming(ctx, chat)
	for parts.Next() {
		accumulated.AddChunk(parts.Current())
	}
	if parts.Err() != nil {
		t.Fatal(parts.Err())
	}
	for i, c := range accumulated.Choices {
		if c.Message.Content != answer.Choices[i].Message.Content {
			t.Errorf("streamed: want %s, got %s", answer.Choices[i].Message.Content, c.Message.Content)
		}
	}
	chat.N = openai.Int(1)
	chat.ResponseFormat = openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONObject: &shared.ResponseFormatJSONObjectParam{}}
	object, err := client.Chat.Completions.New(ctx, chat)
	if err != nil {
		t.Fatal(err)
	}
	if c := object.Choices[0]; c.FinishReason == "stop" && json.Unmarshal([]byte(c.Message.Content), &map[string]any{}) != nil || !strings.HasPrefix(strings.TrimSpace(c.Message.Content), "{") {
		t.Errorf("want an object, got %q", c.Message.Content)
	}
	response, err := client.Responses.New(ctx, responses.ResponseNewParams{
		Model: "demo", MaxOutputTokens: openai.Int(300), Temperature: openai.Float(0), Store: openai.Bool(false),
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Tell me about Tom.")},
		Text:  responses.ResponseTextConfigParam{Format: responses.ResponseFormatTextConfigUnionParam{OfJSONSchema: &responses.ResponseFormatTextJSONSchemaConfigParam{Name: "person", Schema: schema, Strict: openai.Bool(true)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	valid(response.OutputText())

	delete(schema, "$defs")
	_, err = client.Responses.New(ctx, responses.ResponseNewParams{Model: "demo", Store: openai.Bool(false), Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("a")},
		Text: responses.ResponseTextConfigParam{Format: responses.ResponseFormatTextConfigUnionParam{OfJSONSchema: &responses.ResponseFormatTextJSONSchemaConfigParam{Name: "person", Schema: schema}}}})
	if e := (*openai.Error)(nil); !errors.As(err, &e) || e.StatusCode != 400 || e.Param != "text.format.schema" {
		t.Errorf("want an error of the schema, got %v", err)
	}
}
