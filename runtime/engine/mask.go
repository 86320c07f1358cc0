package engine

// maskWork is how much work for the masks of grammars a step does: enough for one mask of most
// schemas, and a small part of the time that a step takes.
const maskWork = 1 << 17

// prepareMasks computes the masks of the requests that have a grammar and may get a token in this
// step, all of them together with a limited amount of work. Those whose masks are not done wait for
// a later step, so that a schema that is hard to follow does not delay the other requests.
func (e *Engine) prepareMasks() {
	var with []*request
	for _, r := range e.running {
		if r.ready = r.match == nil || len(r.Prompt)-r.computed > e.o.StepTokens; !r.ready && r.result.Finish() == "" {
			with = append(with, r)
		}
	}
	e.masked = 0
	for i := range with {
		// Another one begins each time, since those behind may find nothing left.
		r := with[(i+e.steps)%len(with)]
		e.masked += e.prepareMask(r, (e.maskWork-e.masked)/(len(with)-i))
	}
}

// prepareMask computes the mask of a request with a limited amount of work and returns how much
// it was.
func (e *Engine) prepareMask(r *request, limit int) (work int) {
	defer e.catch(r)
	done, work, err := r.match.Prepare(limit)
	if err != nil {
		e.end(r, FinishError, err)
		return work
	}
	r.ready = done
	return work
}
