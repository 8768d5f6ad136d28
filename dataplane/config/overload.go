package config

import (
	"fmt"
	"io/fs"
	"math"

	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	cgroupv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/cgroup_memory/v3"
	connectionsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	heapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/overload"
)

// overloadFields are the messages of overload_manager.
func overloadFields(add adder) {
	add("envoy.config.overload.v3.OverloadManager", "refresh_interval resource_monitors actions")
	add("envoy.config.overload.v3.ResourceMonitor", "name typed_config")
	add("envoy.config.overload.v3.OverloadAction", "name triggers")
	add("envoy.config.overload.v3.Trigger", "name threshold scaled")
	add("envoy.config.overload.v3.ThresholdTrigger", "value")
	add("envoy.config.overload.v3.ScaledTrigger", "scaling_threshold saturation_threshold")
	add("envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes")
	add("envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig", "max_memory_bytes")
	add("envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig", "max_active_downstream_connections")
}

// Overload reads what a bootstrap says of overload. root is the root of the file system, for the memory of the own cgroup.
func Overload(m *overloadv3.OverloadManager, root fs.FS) (overload.Spec, error) {
	const path = "overload_manager"
	r := &reader{table: table(), resource: path}
	if err := r.check(m.ProtoReflect(), "", path); err != nil {
		return overload.Spec{}, err
	}
	spec := overload.Spec{Actions: map[overload.Action][]overload.Trigger{}}
	var err error
	if spec.Refresh, err = duration(m.GetRefreshInterval(), overload.DefaultRefresh, path+".refresh_interval"); err != nil {
		return spec, err
	}
	known := map[string]bool{}
	for i, c := range m.GetResourceMonitors() {
		at := fmt.Sprintf("%s.resource_monitors[%d]", path, i)
		if known[c.GetName()] || c.GetName() == "" {
			return spec, fmt.Errorf("%s.name: %q is empty or there twice", at, c.GetName())
		}
		known[c.GetName()] = true
		if err := resourceMonitor(r, c, &spec, root, at); err != nil {
			return spec, err
		}
	}
	for i, c := range m.GetActions() {
		at := fmt.Sprintf("%s.actions[%d]", path, i)
		action, err := overloadAction(c.GetName(), at+".name")
		if err != nil {
			return spec, err
		}
		if _, twice := spec.Actions[action]; twice {
			return spec, fmt.Errorf("%s.name: %q is there twice", at, c.GetName())
		}
		if spec.Actions[action], err = triggers(c.GetTriggers(), known, at+".triggers"); err != nil {
			return spec, err
		}
	}
	return spec, nil
}

func resourceMonitor(r *reader, c *overloadv3.ResourceMonitor, spec *overload.Spec, root fs.FS, path string) error {
	config, at := c.GetTypedConfig(), path+".typed_config"
	heap, group, connections := &heapv3.FixedHeapConfig{}, &cgroupv3.CgroupMemoryConfig{}, &connectionsv3.DownstreamConnectionsConfig{}
	var monitor overload.Monitor
	switch {
	case config.MessageIs(heap):
		if err := r.any(config, at, heap); err != nil {
			return err
		}
		if heap.GetMaxHeapSizeBytes() == 0 || heap.GetMaxHeapSizeBytes() > math.MaxInt64 {
			return fmt.Errorf("%s.max_heap_size_bytes: %d is no size of a heap", at, heap.GetMaxHeapSizeBytes())
		}
		monitor, spec.MemoryLimit = overload.FixedHeap(heap.GetMaxHeapSizeBytes()), heap.GetMaxHeapSizeBytes()
	case config.MessageIs(group):
		if err := r.any(config, at, group); err != nil {
			return err
		}
		g, ok := overload.FindGroup(root)
		if !ok {
			return fmt.Errorf("%s: no cgroup (version 2) of this process limits its memory", at)
		}
		monitor = g.Monitor(group.GetMaxMemoryBytes())
	case config.MessageIs(connections):
		if err := r.any(config, at, connections); err != nil {
			return err
		}
		if c.GetName() != overload.Connections {
			return fmt.Errorf("%s.name: must be %q for this type, as in Envoy", path, overload.Connections)
		}
		if spec.Connections = connections.GetMaxActiveDownstreamConnections(); spec.Connections <= 0 {
			return fmt.Errorf("%s.max_active_downstream_connections: %d is not above 0", at, spec.Connections)
		}
		return nil
	default:
		return fmt.Errorf("%s: resource monitor %q is not honoured, only fixed_heap, cgroup_memory and downstream_connections", at, config.GetTypeUrl())
	}
	monitor.Name = c.GetName()
	spec.Monitors = append(spec.Monitors, monitor)
	return nil
}

func overloadAction(name, path string) (overload.Action, error) {
	for _, a := range []overload.Action{overload.StopAcceptingRequests, overload.DisableKeepAlive, overload.StopAcceptingConnections,
		overload.RejectConnections, overload.ShrinkHeap} {
		if name == "envoy.overload_actions."+a.String() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("%s: %q is not honoured", path, name)
}

func triggers(list []*overloadv3.Trigger, known map[string]bool, path string) ([]overload.Trigger, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: is empty, and the action would never be taken", path)
	}
	var out []overload.Trigger
	for i, t := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if !known[t.GetName()] {
			return nil, fmt.Errorf("%s.name: no resource monitor is called %q", at, t.GetName())
		}
		trigger := overload.Trigger{Monitor: t.GetName()}
		switch {
		case t.GetThreshold() != nil:
			trigger.From, trigger.To = t.GetThreshold().GetValue(), t.GetThreshold().GetValue()
		case t.GetScaled() != nil:
			trigger.From, trigger.To = t.GetScaled().GetScalingThreshold(), t.GetScaled().GetSaturationThreshold()
			if trigger.From >= trigger.To {
				return nil, fmt.Errorf("%s.scaled: scaling_threshold %v is not below saturation_threshold %v", at, trigger.From, trigger.To)
			}
		default:
			return nil, fmt.Errorf("%s: has neither threshold nor scaled", at)
		}
		if !(trigger.From >= 0 && trigger.To <= 1) { // written so that NaN is refused
			return nil, fmt.Errorf("%s: thresholds are between 0 and 1", at)
		}
		out = append(out, trigger)
	}
	return out, nil
}
