package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Markdown describes in a model card how the model in the plan's directory was pruned:
// its path, and what the criterion measured at every step.
func (p *Plan) Markdown() string {
	var out strings.Builder
	s := p.TargetStep()
	how := fmt.Sprintf("MoP (arXiv 2602.06127), criterion %s, width rule %s", p.Criterion, p.Rule)
	measure := p.Criterion
	if p.Method != "" {
		how, measure = "Method "+p.Method, p.Method
	}
	fmt.Fprintf(&out, "%s: %d parameters of %d, %.2f %% smaller (target %s %%).\n`plan.json` holds every decision; `mop prune --plan plan.json` makes the model again from its base.\n\n",
		how, s.Params, p.Base.Params, 100*s.Compression, strconv.FormatFloat(100*p.Target, 'g', 6, 64))
	steps := p.Steps[:s.Step]
	var kinds []Kind // that have scores
	for _, kind := range []Kind{Depth, Width} {
		if slices.ContainsFunc(steps, func(s Step) bool { return s.Scores[kind] != nil }) {
			kinds = append(kinds, kind)
		}
	}
	out.WriteString("| step | kind | parameters | compression |")
	for _, kind := range kinds {
		fmt.Fprintf(&out, " %s, %s candidate |", measure, kind)
	}
	out.WriteString("\n|---:|---|---:|---:|" + strings.Repeat("---:|", len(kinds)) + "\n")
	for _, s := range steps {
		fmt.Fprintf(&out, "| %d | %s | %d | %.2f %% |", s.Step, s.Kind, s.Params, 100*s.Compression)
		for _, kind := range kinds {
			if score := s.Scores[kind]; score != nil {
				fmt.Fprintf(&out, " %.6g |", *score)
			} else {
				out.WriteString(" |")
			}
		}
		out.WriteByte('\n')
	}
	return out.String()
}
