package cli

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
)

// logs is the flags of a long-running verb's log.
type logs struct {
	level  level
	format logFormat
}

type level struct{ slog.Level }

// String, Set and Type make a level a flag's value.
func (l *level) String() string { return strings.ToLower(l.Level.String()) }
func (l *level) Type() string   { return "debug|info|warn|error" }
func (l *level) Set(s string) error {
	if err := l.UnmarshalText([]byte(s)); err != nil {
		return fmt.Errorf("write debug, info, warn or error")
	}
	return nil
}

type logFormat string

func (f *logFormat) String() string { return string(*f) }
func (f *logFormat) Type() string   { return "text|json" }
func (f *logFormat) Set(s string) error {
	if s != "text" && s != "json" {
		return fmt.Errorf("write text or json")
	}
	*f = logFormat(s)
	return nil
}

// logFlags adds --log-level and --log-format.
func logFlags(cmd *cobra.Command) *logs {
	l := &logs{format: "text"}
	cmd.Flags().Var(&l.level, "log-level", "least level of the log on stderr")
	cmd.Flags().Var(&l.format, "log-format", "form of the log on stderr")
	return l
}

// logger is a log at the level of the flag.
func (l *logs) logger(w io.Writer) *slog.Logger {
	log, _ := l.variable(w)
	return log
}

// variable is a log whose level can be changed while it is used.
func (l *logs) variable(w io.Writer) (*slog.Logger, *slog.LevelVar) {
	v := &slog.LevelVar{}
	v.Set(l.level.Level)
	o := &slog.HandlerOptions{Level: v}
	if l.format == "json" {
		return slog.New(slog.NewJSONHandler(w, o)), v
	}
	return slog.New(slog.NewTextHandler(w, o)), v
}
