package watch

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	capstanv1 "capstan/proto/capstan/v1"
)

// MaxFilterLen is how long an expression may be, in bytes.
const MaxFilterLen = 4096

// maxCost bounds the work for one record, in cel-go's units: about one for each
// operation and ten bytes of text looked at. A look through all headers and a
// body of 4 KiB takes some hundreds.
const maxCost = 100_000

// checkEvery is how many rounds of a comprehension may pass before a cancelled
// context ends it.
const checkEvery = 100

// FilterError is an expression that can't be used as a filter.
type FilterError struct {
	Line, Column int // of the mistake, from 1; 0 if it has no place
	Text         string
}

// Error tells where and what.
func (e *FilterError) Error() string {
	if e.Line == 0 {
		return "filter: " + e.Text
	}
	return fmt.Sprintf("filter: line %d, column %d: %s", e.Line, e.Column, e.Text)
}

// Compiler makes filters. Any goroutine may use it.
type Compiler struct{ env *cel.Env }

// NewCompiler returns a Compiler. Expressions are CEL, as defined by
// https://github.com/google/cel-spec, over the variable exchange; names of
// capstan.v1 need no package before them. header(NAME) of a request or a response
// is the value of its first header field of that name, "" without one.
func NewCompiler() (*Compiler, error) {
	env, err := cel.NewEnv(
		cel.Types(&capstanv1.Exchange{}),
		cel.Container("capstan.v1"),
		cel.Variable("exchange", cel.ObjectType("capstan.v1.Exchange")),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(MaxFilterLen),
		headerFunction(),
	)
	if err != nil {
		return nil, fmt.Errorf("filter language: %w", err)
	}
	return &Compiler{env}, nil
}

// headerFunction declares header() of a request and a response.
func headerFunction() cel.EnvOption {
	overload := func(message string) cel.FunctionOpt {
		return cel.MemberOverload("header_of_"+message, []*cel.Type{cel.ObjectType("capstan.v1." + message), cel.StringType}, cel.StringType,
			cel.BinaryBinding(func(half, name ref.Val) ref.Val {
				m, isHalf := half.Value().(interface{ GetHeaders() []*capstanv1.Header })
				s, isName := name.Value().(string)
				if !isHalf || !isName {
					return types.MaybeNoSuchOverloadErr(half)
				}
				for _, h := range m.GetHeaders() {
					if strings.EqualFold(h.GetName(), s) {
						return types.String(h.GetValue())
					}
				}
				return types.String("")
			}))
	}
	return cel.Function("header", overload("HttpRequest"), overload("HttpResponse"))
}

// Compile compiles an expression; nil is the filter of an empty one. The error is
// a [*FilterError].
func (c *Compiler) Compile(expression string) (*Filter, error) {
	if strings.TrimSpace(expression) == "" {
		return nil, nil
	}
	if len(expression) > MaxFilterLen {
		return nil, &FilterError{Text: fmt.Sprintf("longer than %d bytes", MaxFilterLen)}
	}
	ast, issues := c.env.Compile(expression)
	if issues.Err() != nil {
		return nil, firstError(issues)
	}
	if ast.OutputType() != cel.BoolType {
		return nil, &FilterError{Text: fmt.Sprintf("is of type %s: it has to be true or false", ast.OutputType())}
	}
	program, err := c.env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost), cel.InterruptCheckFrequency(checkEvery))
	if err != nil {
		return nil, &FilterError{Text: err.Error()}
	}
	return &Filter{program: program}, nil
}

func firstError(issues *cel.Issues) error {
	all := issues.Errors()
	if len(all) == 0 {
		return &FilterError{Text: issues.Err().Error()}
	}
	e := all[0]
	text := e.Message
	if strings.Contains(text, "(uint, int)") || strings.Contains(text, "(int, uint)") {
		text += " (an unsigned number is written 500u)"
	}
	return &FilterError{Line: max(e.Location.Line(), 1), Column: max(e.Location.Column(), 0) + 1, Text: text}
}

// Filter judges records. Any goroutine may use it.
type Filter struct{ program cel.Program }

var errNotBool = errors.New("filter: neither true nor false")

// Match reports whether x is wanted. It fails where the expression has no answer
// or is too dear.
func (f *Filter) Match(ctx context.Context, x *capstanv1.Exchange) (bool, error) {
	v, _, err := f.program.ContextEval(ctx, map[string]any{"exchange": x})
	if err != nil {
		return false, err
	}
	b, ok := v.Value().(bool)
	if !ok {
		return false, errNotBool
	}
	return b, nil
}
