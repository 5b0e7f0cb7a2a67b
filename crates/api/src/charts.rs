//! The signals of a device by number or topic: names and units, last values, points of charts.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hubward_journal::LookBack;
use hubward_model::{Kind, Offset, Record, Timestamp};
use hubward_registry::Series;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Operate, Read};
use crate::extract::{Body, Params, Path};
use crate::openapi::words;
use crate::shapes::Page;
use crate::shapes::signals::{LastValue, Point, Points, SeriesName, SeriesRow};
use crate::signals::unreadable;
use crate::{ApiError, Services, series};

/// Records of the device that one request looks at.
const VISIT: usize = 5_000;
const POINTS: usize = 300;
const MAX_POINTS: usize = 2_000;
/// Longest name and unit.
const MAX_NAME: usize = 64;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Services> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(define, forget)).routes(routes!(points))
}

/// List a device's signals by number or topic, those without a name first.
#[utoipa::path(get, path = "/devices/{device}/series", tag = "signals",
    params(("device" = String, Path, description = "Name or id")), responses((status = 200, body = Page<SeriesRow>)),
    security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn list(
    State(services): State<Services>,
    _: Read,
    Path(device): Path<String>,
) -> Result<Json<Page<SeriesRow>>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let series = services.registry.series(&device.id).await?;
    Ok(Json(Page::all(series.into_iter().map(row).collect())))
}

/// Give a signal a name and a unit. It may come before the first such signal.
#[utoipa::path(put, path = "/devices/{device}/series/{key}", tag = "signals",
    params(("device" = String, Path, description = "Name or id"),
        ("key" = String, Path, description = "The number, or the topic after signals/, percent-encoded")),
    request_body = SeriesName, responses((status = 200, body = SeriesRow)),
    security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn define(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path((device, key)): Path<(String, String)>,
    Body(wanted): Body<SeriesName>,
) -> Result<Json<SeriesRow>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let (name, unit) = (wanted.name.trim(), wanted.unit.as_deref().map(str::trim).filter(|unit| !unit.is_empty()));
    for (field, text, may_be_empty) in [("name", name, false), ("unit", unit.unwrap_or_default(), true)] {
        let broken = text.chars().count() > MAX_NAME || text.chars().any(char::is_control);
        if broken || (text.is_empty() && !may_be_empty) {
            let message = format!("the {field} {text:?} of a signal cannot be one");
            let remedy = format!("give 1 to {MAX_NAME} characters without control characters");
            return Err(ApiError::bad_request("bad_signal_name", message, remedy).field(field));
        }
    }
    if key.is_empty() || key.len() > 200 || key.chars().any(char::is_control) {
        return Err(ApiError::bad_request(
            "bad_signal_key",
            format!("{key:?} names no signal"),
            "give the number of a Pybytes signal, or the topic after signals/, at most 200 bytes",
        )
        .field("key"));
    }
    services.registry.define_series(&device.id, &key, Some(name), unit).await?;
    services.audit(&caller, "signal.define", &format!("{} {key}", device.id)).await;
    shown(&services, &device.id, &key).await
}

async fn shown(services: &Services, device: &hubward_model::DeviceId, key: &str) -> Result<Json<SeriesRow>, ApiError> {
    let found = services.registry.one_series(device, key).await?;
    found.map(|series| Json(row(series))).ok_or_else(|| {
        let message = format!("the device has no signal {key:?}");
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message, "list its signals")
    })
}

/// Take name and unit away from a signal.
#[utoipa::path(delete, path = "/devices/{device}/series/{key}", tag = "signals",
    params(("device" = String, Path, description = "Name or id"),
        ("key" = String, Path, description = "The number, or the topic after signals/, percent-encoded")),
    responses((status = 204)), security(("token" = ["operate"]), ("session" = ["operator"])))]
pub(crate) async fn forget(
    State(services): State<Services>,
    Operate(caller): Operate,
    Path((device, key)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let device = services.registry.find_device(&device).await?;
    drop(shown(&services, &device.id, &key).await?);
    services.registry.define_series(&device.id, &key, None, None).await?;
    services.audit(&caller, "signal.forget", &format!("{} {key}", device.id)).await;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PointsParams {
    /// From this time on; a day before `to` if not said.
    #[param(value_type = Option<words::Timestamp>)]
    from: Option<Timestamp>,
    /// Up to this time; now if not said.
    #[param(value_type = Option<words::Timestamp>)]
    to: Option<Timestamp>,
    /// At most so many points; 300 if not said.
    #[param(minimum = 1, maximum = 2000)]
    points: Option<usize>,
    /// What `next` said: older ones.
    #[param(value_type = Option<words::Offset>)]
    before: Option<Offset>,
}

/// Get the points of a chart: values of one signal in a time range, thinned out.
///
/// One answer looks at the newest 5,000 records of the device in the range, and at 200 segments of the journal at most;
/// with a `next` there may be older ones.
#[utoipa::path(get, path = "/devices/{device}/series/{key}/points", tag = "signals",
    params(("device" = String, Path, description = "Name or id"),
        ("key" = String, Path, description = "The number, or the topic after signals/, percent-encoded"), PointsParams),
    responses((status = 200, body = Points)), security(("token" = ["read"]), ("session" = ["viewer"])))]
pub(crate) async fn points(
    State(services): State<Services>,
    _: Read,
    Path((device, key)): Path<(String, String)>,
    Params(params): Params<PointsParams>,
) -> Result<Json<Points>, ApiError> {
    let device = services.registry.find_device(&device).await?;
    let to = params.to.unwrap_or_else(Timestamp::now);
    let from = params.from.unwrap_or_else(|| Timestamp::from_millis(to.as_millis().saturating_sub(Timestamp::DAY)));
    let most = wanted(params.points)?;
    let query = LookBack {
        device: Some(device.id),
        before: params.before,
        since: Some(from),
        // A range up to now needs no search for its end.
        until: params.to,
        kind: Some(Kind::Signal),
        limit: usize::MAX,
        visit: VISIT,
        ..LookBack::default()
    };
    let fits = move |record: &Record| record.only_for.is_none() && series::key(record).as_deref() == Some(&key);
    let looked = services.journal.look_back(query, fits).await.map_err(unreadable)?;
    let samples: Vec<(Timestamp, f64)> = looked
        .records
        .iter()
        .rev()
        .filter_map(|record| Some((record.received_at, series::value(record).as_f64()?)))
        .collect();
    let points = thinned(&samples, (from, to), most);
    Ok(Json(Points { from, to, points, samples: samples.len(), next: looked.next }))
}

/// How many points, within what one answer may have.
fn wanted(points: Option<usize>) -> Result<usize, ApiError> {
    let points = points.unwrap_or(POINTS);
    if (1..=MAX_POINTS).contains(&points) {
        return Ok(points);
    }
    let message = format!("{points} points are not from 1 to {MAX_POINTS}");
    Err(ApiError::bad_request("bad_points", message, "ask for fewer: more than a screen is wide cannot be seen")
        .field("points"))
}

/// At most `most` points: the range is cut into so many parts of equal time, and each that holds samples becomes one.
fn thinned(samples: &[(Timestamp, f64)], (from, to): (Timestamp, Timestamp), most: usize) -> Vec<Point> {
    let one = |at, value| Point { at, value, min: value, max: value, count: 1 };
    if samples.len() <= most {
        return samples.iter().map(|(at, value)| one(*at, *value)).collect();
    }
    let span = u128::try_from(to.as_millis().saturating_sub(from.as_millis())).unwrap_or(0).max(1);
    let part = |at: Timestamp| {
        let into = u128::try_from(at.as_millis().saturating_sub(from.as_millis())).unwrap_or(0);
        (into * most as u128 / span).min(most as u128 - 1)
    };
    let mut points: Vec<Point> = Vec::new();
    let mut current = None;
    for (at, value) in samples {
        if current == Some(part(*at))
            && let Some(point) = points.last_mut()
        {
            (point.at, point.value) = (*at, *value);
            (point.min, point.max) = (point.min.min(*value), point.max.max(*value));
            point.count += 1;
        } else if points.len() < most {
            current = Some(part(*at));
            points.push(one(*at, *value));
        }
    }
    points
}

fn row(series: Series) -> SeriesRow {
    SeriesRow {
        number: series.key.parse().ok(),
        key: series.key,
        defined: series.name.is_some(),
        name: series.name,
        unit: series.unit,
        last: series.last.map(|(at, offset)| LastValue { at, value: series.last_value, offset }),
        count: series.number,
        numeric: series.is_number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_out_of_range_are_refused() {
        assert_eq!((wanted(None).unwrap(), wanted(Some(MAX_POINTS)).unwrap()), (POINTS, MAX_POINTS));
        assert!(wanted(Some(0)).is_err() && wanted(Some(MAX_POINTS + 1)).is_err());
    }

    #[test]
    fn many_samples_become_few_points_that_keep_extremes_and_gaps() {
        let at = |second: i64| Timestamp::from_millis(second * 1000);
        let value = |second: i64| if second == 4_321 { 99.0 } else { 1.0 };
        let samples: Vec<_> = (0..10_000).filter(|s| !(5_000..6_000).contains(s)).map(|s| (at(s), value(s))).collect();
        let points = thinned(&samples, (at(0), at(10_000)), 100);
        assert_eq!(points.len(), 90, "the parts without samples have no points");
        assert_eq!(points.iter().map(|point| point.count).sum::<u64>(), 9_000);
        assert!(points.iter().any(|point| (point.max - 99.0).abs() < 1e-9));
        assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at));
        // Few samples stay as they are.
        assert_eq!(thinned(&samples[..50], (at(0), at(10_000)), 100).len(), 50);
        assert!(thinned(&samples, (at(0), at(0)), 10).len() <= 10);
    }
}
