package chat

// builtin is a template for checkpoints that bring none along.
type builtin struct {
	name   string
	source string
	tokens map[string]string // used where the checkpoint names none
	marker string            // a special token that only models of this template have
}

var builtins = []builtin{
	{
		name: "llama-2",
		source: `{% if messages[0].role == 'system' %}{% set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}{% set turns = messages[1:] %}` +
			`{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}` +
			`{% for m in turns %}` +
			`{% if m.role != ('user' if loop.index0 % 2 == 0 else 'assistant') %}{{ raise_exception('want user and assistant in turn, the user first') }}{% endif %}` +
			`{% if m.role == 'user' %}{{ bos_token + '[INST] ' + ((system if loop.first else '') + m.content) | trim + ' [/INST]' }}` +
			`{% else %}{{ ' ' + m.content | trim + ' ' + eos_token }}{% endif %}` +
			`{% endfor %}`,
		tokens: map[string]string{"bos_token": "<s>", "eos_token": "</s>"},
	},
	{
		name: "llama-3",
		source: `{{ bos_token }}{% for m in messages %}` +
			`{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}` +
			`{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}`,
		tokens: map[string]string{"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
		marker: "<|start_header_id|>",
	},
	{
		name: "vicuna",
		source: `{{ bos_token }}{% if messages[0].role == 'system' %}{{ messages[0].content | trim + ' ' }}{% set turns = messages[1:] %}` +
			`{% else %}{{ "A chat between a curious user and an artificial intelligence assistant. ` +
			`The assistant gives helpful, detailed, and polite answers to the user's questions. " }}{% set turns = messages %}{% endif %}` +
			`{% for m in turns %}` +
			`{% if m.role != ('user' if loop.index0 % 2 == 0 else 'assistant') %}{{ raise_exception('want user and assistant in turn, the user first') }}{% endif %}` +
			`{% if m.role == 'user' %}{{ 'USER: ' + m.content | trim + ' ' }}{% else %}{{ 'ASSISTANT: ' + m.content | trim + eos_token }}{% endif %}` +
			`{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}`,
		tokens: map[string]string{"bos_token": "<s>", "eos_token": "</s>"},
	},
	{
		name: "chatml",
		source: `{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}` +
			`{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`,
		marker: "<|im_start|>",
	},
}
