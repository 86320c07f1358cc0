package engine

// The scheduler is pure functions over queues and numbers of free slots and pages. It
// knows nothing of the model.

// budget says how much a step computes.
type budget struct {
	tokens int // of prompts and decoded sequences together
	chunk  int // positions of a prompt's chunk; chunks begin at multiples of it
	slots  int // that are free
	pages  int // that no request has reserved
}

// progress is how far a request's prompt has been computed. One that is held waits for the
// embeddings of its images, or for the tokens that its grammar allows.
type progress struct {
	prompt, computed int
	held             bool
}

// decodes reports whether a request's next step is a decode step.
func (p progress) decodes() bool { return p.computed >= p.prompt }

// chunk is the part of a prompt that a step computes.
type chunk struct {
	request int // index in the list of running requests
	tokens  int
}

// admit gives the number of waiting requests that can start, the oldest first; pages is
// what each of them needs at most. A request that does not fit holds back those behind
// it, so that a long one is not passed by short ones for ever.
func admit(waiting []int, b budget) int {
	n := 0
	for n < len(waiting) && n < b.slots && waiting[n] <= b.pages {
		b.pages -= waiting[n]
		n++
	}
	return n
}

// prefillChunks gives the chunks of prompts that a step computes beside one token for each
// sequence that decodes. Prompts are computed in the order of their arrival. A prompt is
// always cut at the same positions, whatever else runs, so that its results have the same
// bits. At least one chunk is taken, so that decoding sequences do not keep a prompt waiting.
func prefillChunks(running []progress, b budget) (chunks []chunk) {
	left := b.tokens
	for _, r := range running {
		if r.decodes() {
			left--
		}
	}
	for i, r := range running {
		if r.decodes() || r.held {
			continue
		}
		n := min(b.chunk-r.computed%b.chunk, r.prompt-r.computed)
		if n > left && len(chunks) > 0 {
			break
		}
		chunks = append(chunks, chunk{i, n})
		left -= n
	}
	return chunks
}
