package config

//lint:file-ignore SA1019 the deprecated ways to write a format are still sent, and mean what they meant

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamlogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

// maxLogs bounds how many files a configuration, or one after the other, may have open for logs.
const maxLogs = 64

// AccessLogs are the files to which the access logs of configurations go. A file is opened once, whoever names it, and stays
// open until Close, so that a change of configuration loses no line. Safe for concurrent use.
type AccessLogs struct {
	mu   sync.Mutex
	open map[string]*telemetry.LogWriter
}

// NewAccessLogs makes an empty set.
func NewAccessLogs() *AccessLogs { return &AccessLogs{open: map[string]*telemetry.LogWriter{}} }

// Writer is the log of a path, which is opened if it is not open yet. It is the set's: do not close it.
func (a *AccessLogs) Writer(path string) (*telemetry.LogWriter, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.open[path]; w != nil {
		return w, nil
	}
	if len(a.open) >= maxLogs {
		return nil, fmt.Errorf("%d other files are open for logs already, which is the limit", maxLogs)
	}
	w, err := telemetry.OpenLog(path)
	if err != nil {
		return nil, err
	}
	a.open[path] = w
	return w, nil
}

// Reopen opens all files anew: they were rotated away.
func (a *AccessLogs) Reopen() error { return a.each((*telemetry.LogWriter).Reopen) }

// Close writes what is left and closes all files.
func (a *AccessLogs) Close() error { return a.each((*telemetry.LogWriter).Close) }

// Dropped counts lines that could not be written.
func (a *AccessLogs) Dropped() uint64 {
	var n uint64
	_ = a.each(func(w *telemetry.LogWriter) error { n += w.Dropped(); return nil })
	return n
}

func (a *AccessLogs) each(do func(*telemetry.LogWriter) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, path := range sorted(a.open) {
		errs = append(errs, do(a.open[path]))
	}
	return errors.Join(errs...)
}

// readFile reads a file that a configuration names: a regular one, of limit bytes at most.
func (d *Deps) readFile(name string, limit int64, path string) (string, error) {
	if !d.StandAlone {
		return "", fmt.Errorf("%s: a file of this host is only honoured in stand-alone mode", path)
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", path, err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: %s is not a regular file", path, name)
	case info.Size() > limit:
		return "", fmt.Errorf("%s: %s has %d bytes, above the limit of %d", path, name, info.Size(), limit)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s has grown above the limit of %d bytes", name, limit)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return string(text), nil
}

// accessLogs reads where records go beside the proxy's own log; nil: nowhere.
func (w *build) accessLogs(r *reader, list []*accesslogv3.AccessLog, path string) (telemetry.Recorder, error) {
	var all []telemetry.Recorder
	for i, m := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if w.deps.AccessLogs == nil {
			return nil, fmt.Errorf("%s: the access logs of a configuration are only honoured in stand-alone mode", at)
		}
		log, err := w.accessLog(r, m, at+".typed_config")
		if err != nil {
			return nil, err
		}
		if m.GetFilter() != nil {
			keep, err := logFilter(m.GetFilter(), at+".filter", 0)
			if err != nil {
				return nil, err
			}
			log = filteredLog{log, keep}
		}
		all = append(all, log)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return telemetry.Tee(all...), nil
}

// accessLog reads one logger: a file, standard output or standard error.
func (w *build) accessLog(r *reader, m *accesslogv3.AccessLog, path string) (telemetry.Recorder, error) {
	file, stdout, stderr := &filelogv3.FileAccessLog{}, &streamlogv3.StdoutAccessLog{}, &streamlogv3.StderrAccessLog{}
	read := func(to proto.Message) error { return r.any(m.GetTypedConfig(), path, to) }
	var encode func(*telemetry.LogWriter) telemetry.Recorder
	var err error
	name := ""
	switch config := m.GetTypedConfig(); {
	case config.MessageIs(file):
		if err := read(file); err != nil {
			return nil, err
		}
		if name = file.GetPath(); name == "" {
			return nil, fmt.Errorf("%s.path: is empty", path)
		}
		encode, err = w.fileFormat(file, path)
	case config.MessageIs(stdout):
		if err := read(stdout); err != nil {
			return nil, err
		}
		name = "/dev/stdout"
		encode, err = w.logFormat(stdout.GetLogFormat(), path+".log_format")
	case config.MessageIs(stderr):
		if err := read(stderr); err != nil {
			return nil, err
		}
		name = "/dev/stderr"
		encode, err = w.logFormat(stderr.GetLogFormat(), path+".log_format")
	default:
		return nil, fmt.Errorf("%s: logger %q is not honoured, only those of files, stdout and stderr", path, config.GetTypeUrl())
	}
	if err != nil {
		return nil, err
	}
	out, err := w.deps.AccessLogs.Writer(name)
	if err != nil {
		return nil, fmt.Errorf("%s.path: %w", path, err)
	}
	return encode(out), nil
}

// encoding makes a log of what it writes to.
type encoding = func(*telemetry.LogWriter) telemetry.Recorder

func textLog(out *telemetry.LogWriter) telemetry.Recorder { return telemetry.NewTextLog(out) }

// fileFormat reads the format of a file, which may stand in older places as well.
func (w *build) fileFormat(m *filelogv3.FileAccessLog, path string) (encoding, error) {
	switch f := m.GetAccessLogFormat().(type) {
	case *filelogv3.FileAccessLog_Format:
		if f.Format == "" {
			return textLog, nil
		}
		return textFormat(f.Format, path+".format")
	case *filelogv3.FileAccessLog_JsonFormat:
		return jsonFormat(f.JsonFormat, false, path+".json_format")
	case *filelogv3.FileAccessLog_TypedJsonFormat:
		return jsonFormat(f.TypedJsonFormat, false, path+".typed_json_format")
	}
	return w.logFormat(m.GetLogFormat(), path+".log_format")
}

// logFormat reads a format; left out, or empty, it is Envoy's default, with our reasons behind refusals.
func (w *build) logFormat(m *corev3.SubstitutionFormatString, path string) (encoding, error) {
	switch f := m.GetFormat().(type) {
	case *corev3.SubstitutionFormatString_JsonFormat:
		return jsonFormat(f.JsonFormat, m.GetOmitEmptyValues(), path+".json_format")
	case *corev3.SubstitutionFormatString_TextFormat:
		if m.GetOmitEmptyValues() {
			break
		}
		if f.TextFormat == "" {
			return textLog, nil
		}
		return textFormat(f.TextFormat, path+".text_format")
	case *corev3.SubstitutionFormatString_TextFormatSource:
		if m.GetOmitEmptyValues() {
			break
		}
		text, err := w.formatSource(f.TextFormatSource, path+".text_format_source")
		if err != nil {
			return nil, err
		}
		return textFormat(text, path+".text_format_source")
	case nil:
		return textLog, nil
	}
	return nil, fmt.Errorf("%s.omit_empty_values: is only honoured with json_format", path)
}

// maxFormat bounds a format that is read from a file.
const maxFormat = 64 << 10

func (w *build) formatSource(m *corev3.DataSource, path string) (string, error) {
	switch s := m.GetSpecifier().(type) {
	case *corev3.DataSource_InlineString:
		return s.InlineString, nil
	case *corev3.DataSource_InlineBytes:
		return string(s.InlineBytes), nil
	case *corev3.DataSource_Filename:
		return w.deps.readFile(s.Filename, maxFormat, path+".filename")
	}
	return "", fmt.Errorf("%s: is not honoured, only inline_string, inline_bytes and filename", path)
}

func textFormat(text, path string) (encoding, error) {
	f, err := telemetry.CompileFormat(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return func(out *telemetry.LogWriter) telemetry.Recorder { return telemetry.NewFormatLog(out, f) }, nil
}

func jsonFormat(m *structpb.Struct, omitEmpty bool, path string) (encoding, error) {
	f, err := telemetry.CompileJSONFormat(m.AsMap())
	if err != nil {
		return nil, fmt.Errorf("%s%w", path, err)
	}
	f.OmitEmpty = omitEmpty
	return func(out *telemetry.LogWriter) telemetry.Recorder { return telemetry.NewJSONFormatLog(out, f) }, nil
}

// filteredLog passes on the records that it is to keep.
type filteredLog struct {
	telemetry.Recorder
	keep func(*telemetry.Record) bool
}

func (f filteredLog) Record(r *telemetry.Record) {
	if f.keep(r) {
		f.Recorder.Record(r)
	}
}

// maxFilterDepth of nested filters: a deeper one is an attack on the stack.
const maxFilterDepth = 16

func logFilter(m *accesslogv3.AccessLogFilter, path string, depth int) (func(*telemetry.Record) bool, error) {
	if depth > maxFilterDepth {
		return nil, fmt.Errorf("%s: is nested more than %d deep", path, maxFilterDepth)
	}
	switch f := m.GetFilterSpecifier().(type) {
	case *accesslogv3.AccessLogFilter_StatusCodeFilter:
		holds, err := comparison(f.StatusCodeFilter.GetComparison(), path+".status_code_filter.comparison")
		return func(r *telemetry.Record) bool { return holds(int64(r.Status)) }, err
	case *accesslogv3.AccessLogFilter_DurationFilter:
		holds, err := comparison(f.DurationFilter.GetComparison(), path+".duration_filter.comparison")
		return func(r *telemetry.Record) bool { return holds(r.Duration.Milliseconds()) }, err
	case *accesslogv3.AccessLogFilter_NotHealthCheckFilter:
		return func(*telemetry.Record) bool { return true }, nil // a question about health makes no record at all
	case *accesslogv3.AccessLogFilter_ResponseFlagFilter:
		return flagFilter(f.ResponseFlagFilter.GetFlags()), nil
	case *accesslogv3.AccessLogFilter_AndFilter:
		all, err := logFilters(f.AndFilter.GetFilters(), path+".and_filter", depth)
		return func(r *telemetry.Record) bool {
			return !slices.ContainsFunc(all, func(keep func(*telemetry.Record) bool) bool { return !keep(r) })
		}, err
	case *accesslogv3.AccessLogFilter_OrFilter:
		all, err := logFilters(f.OrFilter.GetFilters(), path+".or_filter", depth)
		return func(r *telemetry.Record) bool {
			return slices.ContainsFunc(all, func(keep func(*telemetry.Record) bool) bool { return keep(r) })
		}, err
	}
	return nil, fmt.Errorf("%s: says nothing that is honoured", path)
}

func logFilters(list []*accesslogv3.AccessLogFilter, path string, depth int) ([]func(*telemetry.Record) bool, error) {
	if len(list) < 2 {
		return nil, fmt.Errorf("%s.filters: needs two or more", path)
	}
	var all []func(*telemetry.Record) bool
	for i, m := range list {
		keep, err := logFilter(m, fmt.Sprintf("%s.filters[%d]", path, i), depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, keep)
	}
	return all, nil
}

// flagFilter keeps records with one of the flags; with any flag where none is named.
func flagFilter(flags []string) func(*telemetry.Record) bool {
	return func(r *telemetry.Record) bool {
		for rest := r.Flags; rest != ""; {
			var flag string
			flag, rest, _ = strings.Cut(rest, ",")
			if len(flags) == 0 || slices.Contains(flags, flag) {
				return true
			}
		}
		return false
	}
}

func comparison(m *accesslogv3.ComparisonFilter, path string) (func(int64) bool, error) {
	if m.GetValue() == nil {
		return nil, fmt.Errorf("%s.value: is required", path)
	}
	value := int64(m.GetValue().GetDefaultValue())
	switch m.GetOp() {
	case accesslogv3.ComparisonFilter_EQ:
		return func(n int64) bool { return n == value }, nil
	case accesslogv3.ComparisonFilter_GE:
		return func(n int64) bool { return n >= value }, nil
	case accesslogv3.ComparisonFilter_LE:
		return func(n int64) bool { return n <= value }, nil
	case accesslogv3.ComparisonFilter_NE:
		return func(n int64) bool { return n != value }, nil
	}
	return nil, fmt.Errorf("%s.op: %s is not honoured", path, m.GetOp())
}
