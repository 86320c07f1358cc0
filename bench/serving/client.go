package serving

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Target is a model behind the OpenAI API.
type Target struct {
	Name  string // in the report
	URL   string // of the server, without /v1
	Model string // that the server knows it by
	Key   string // API key, "" = none
}

// Sample is one request.
type Sample struct {
	Target  string        `json:"target"`
	Level   string        `json:"level"`
	Round   int           `json:"round"`
	In      int           `json:"in"`
	Out     int           `json:"out"` // tokens that the server counted
	Start   time.Duration `json:"start_ns"`
	TTFT    time.Duration `json:"ttft_ns"`    // start to the first part with text
	Latency time.Duration `json:"latency_ns"` // start to the last part
	Error   string        `json:"error,omitempty"`

	Gaps []time.Duration `json:"gaps_ns,omitempty"` // between parts with text
}

// ITL is the mean time between two tokens, 0 where there are fewer than two.
func (s Sample) ITL() time.Duration {
	if s.Out < 2 {
		return 0
	}
	return (s.Latency - s.TTFT) / time.Duration(s.Out-1)
}

// send completes a prompt of token ids with a fixed number of tokens, and times it.
func (t Target) send(ctx context.Context, client *http.Client, prompt []int, out int) (s Sample) {
	s.In = len(prompt)
	body, err := json.Marshal(map[string]any{"model": t.Model, "prompt": prompt, "max_tokens": out, "min_tokens": out, "ignore_eos": true, "temperature": 0,
		"stream": true, "stream_options": map[string]bool{"include_usage": true}})
	if err == nil {
		err = t.stream(ctx, client, body, &s)
	}
	if err == nil && s.Out != out {
		err = fmt.Errorf("want %d tokens, the server counted %d", out, s.Out)
	}
	if err != nil {
		s.Error = err.Error()
	}
	return s
}

func (t Target) stream(ctx context.Context, client *http.Client, body []byte, s *Sample) error {
	req, err := http.NewRequestWithContext(ctx, "POST", t.URL+"/v1/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if t.Key != "" {
		req.Header.Set("Authorization", "Bearer "+t.Key)
	}
	// A server may close an idle connection just when the next request is sent on it, as
	// llama.cpp's does. The header, which is not sent, lets the transport send it again.
	req.Header["Idempotency-Key"] = nil
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
		return fmt.Errorf("status %d: %s", resp.StatusCode, bytes.TrimSpace(text))
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	var last time.Duration // when the last part with text came
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var part struct {
			Choices []struct {
				Text string `json:"text"`
			} `json:"choices"`
			Usage *struct {
				Tokens int `json:"completion_tokens"`
			} `json:"usage"`
			Error *struct{ Message string } `json:"error"`
		}
		if err := json.Unmarshal([]byte(data), &part); err != nil {
			return fmt.Errorf("a part of the answer: %w", err)
		}
		if part.Error != nil {
			return fmt.Errorf("the server says: %s", part.Error.Message)
		}
		if part.Usage != nil {
			s.Out = part.Usage.Tokens
		}
		if len(part.Choices) == 0 {
			continue
		}
		s.Latency = time.Since(start)
		if part.Choices[0].Text != "" {
			if s.TTFT == 0 {
				s.TTFT = s.Latency
			} else {
				s.Gaps = append(s.Gaps, s.Latency-last)
			}
			last = s.Latency
		}
	}
	if s.TTFT == 0 {
		s.TTFT = s.Latency
	}
	return lines.Err()
}

// FirstModel gives the name of the first model that a server lists.
func FirstModel(ctx context.Context, url, key string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", url+"/v1/models", nil)
	if err != nil {
		return "", err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var list struct{ Data []struct{ ID string } }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&list); err != nil || resp.StatusCode != http.StatusOK || len(list.Data) == 0 {
		return "", fmt.Errorf("%s/v1/models: want a list of models, got status %d", url, resp.StatusCode)
	}
	return list.Data[0].ID, nil
}
