"""What the dashboards are made of: panels of Prometheus queries, in the look that all of them share."""

from collections.abc import Sequence
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

Query = tuple[str, str]
"""An expression, and what its series are called (`{{stage}}`)."""

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="prometheus")
TAG: Final = "backsight"


def graph(
    title: str, *queries: Query, unit: str = "short", about: str = "", most: float | None = None, width: int = 12
) -> timeseries.Panel:
    """Lines over time. ``most``: the top of the axis."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(8)
        .line_width(1)
        .fill_opacity(8)
        .show_points(VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    if most is not None:
        panel.max(most)
    for target in _targets(queries):
        panel.with_target(target)
    return panel


def figure(
    title: str, *queries: Query, unit: str = "short", about: str = "", bad_from: float | None = None, width: int = 4
) -> stat.Panel:
    """The newest value, large. ``bad_from``: it is red from there on."""
    steps = [Threshold(value=None, color="green")]
    if bad_from is not None:
        steps.append(Threshold(value=bad_from, color="red"))
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(4)
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.VALUE)
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    for target in _targets(queries):
        panel.with_target(target)
    return panel


def board(
    name: str,
    title: str,
    rows: Sequence[tuple[str, Sequence[timeseries.Panel | stat.Panel]]],
    variables: Sequence[tuple[str, str]] = (),
) -> dashboard.Dashboard:
    """A dashboard of titled rows. ``variables``: names, and the metric whose label of that name they choose from."""
    made = (
        dashboard.Dashboard(title)
        .uid(f"backsight-{name}")
        .tags([TAG])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            dashboard.DashboardLink("Backsight")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
        )
    )
    for variable, metric in variables:
        made.with_variable(
            dashboard.QueryVariable(variable)
            .label(variable)
            .datasource(SOURCE)
            .query(f"label_values({metric}, {variable})")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    for row, panels in rows:
        made.with_row(dashboard.Row(row))
        for panel in panels:
            made.with_panel(panel)
    return made


def _targets(queries: Sequence[Query]) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
        for number, (expression, legend) in enumerate(queries)
    ]
