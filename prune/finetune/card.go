package finetune

import (
	"fmt"
	"path/filepath"
	"strings"

	"mop/prune/plan"
	"mop/runtime/modelcard"
)

// card is the model card of the fine-tuned model: what was measured in training, and the
// plan of a model that was pruned before.
func (r *run) card() *modelcard.Card {
	model := modelcard.Name(r.Model)
	c := &modelcard.Card{Title: model + ", fine-tuned"}
	how := fmt.Sprintf("low-rank adapters (rank %d, alpha %g), merged into the weights", r.Rank, r.Alpha)
	if r.Full {
		how = "training of all parameters"
	}
	c.Origin = fmt.Sprintf("Made from `%s` by mop: %s.", model, how)
	var text strings.Builder
	text.WriteString("| steps | examples | trained parameters | loss of the first step | of the last step |\n|---:|---:|---:|---:|---:|\n")
	fmt.Fprintf(&text, "| %d | %d | %d | %.4f | %.4f |\n\n", r.result.Steps, r.result.Examples, r.result.Trained, r.result.FirstLoss, r.result.LastLoss)
	fmt.Fprintf(&text, "The loss is in nats per token, on the training data (`%s`, sha256 %s).\n`%s` holds all settings.\n", modelcard.Name(r.Data), r.result.Data, resultFile)
	c.Sections = append(c.Sections, modelcard.Section{Title: "How it was fine-tuned", Text: text.String()})
	if p, err := plan.Load(filepath.Join(r.Model, "plan.json")); err == nil && len(p.Steps) > 0 {
		c.Sections = append(c.Sections, modelcard.Section{Title: "How it was pruned", Text: p.Markdown()})
	}
	return c
}
