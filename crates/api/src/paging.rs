//! Lists: how many, from where, in which order; and the list's own filters.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ApiError;
use crate::shapes::Page;

/// Entries of an answer when nobody says how many.
const DEFAULT_LIMIT: usize = 100;
/// Most entries of an answer.
const MAX_LIMIT: usize = 1_000;
/// The parameters of every list; what else a query holds is the list's own.
const SHARED: &[&str] = &["limit", "cursor", "sort", "order"];

/// Which way a list goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// The smallest first.
    Asc,
    /// The largest first.
    Desc,
}

/// The parameters of every list, as the document shows them.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// Entries of this answer; 100 if not said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// What `next` of the part before said.
    cursor: Option<String>,
    /// What to sort by.
    sort: Option<String>,
    /// Which way.
    #[param(inline)]
    order: Option<Direction>,
}

/// A request for a part of a list, with the list's own filters.
#[derive(Debug, Clone)]
pub(crate) struct List<F> {
    /// Most entries of the answer.
    pub(crate) limit: usize,
    /// What the list alone knows.
    pub(crate) filter: F,
    cursor: Option<String>,
    sort: Option<String>,
    order: Option<Direction>,
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sort {
    /// The field, one of those the list allows.
    pub(crate) by: &'static str,
    /// The largest first.
    pub(crate) descending: bool,
}

impl<F> List<F> {
    /// The order that was asked for. `allowed` names the fields, each with the direction that is usual for it; the
    /// first is taken when nobody says.
    pub(crate) fn sort(&self, allowed: &[(&'static str, Direction)]) -> Result<Sort, ApiError> {
        let found = match &self.sort {
            None => allowed.first(),
            Some(wanted) => allowed.iter().find(|(name, _)| name == wanted),
        };
        let Some((by, usual)) = found else {
            let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
            return Err(ApiError::bad_request(
                "bad_sort",
                format!("the list cannot be sorted by {:?}", self.sort.as_deref().unwrap_or_default()),
                format!("sort by {}", names.join(", ")),
            )
            .field("sort"));
        };
        Ok(Sort { by, descending: self.order.unwrap_or(*usual) == Direction::Desc })
    }

    /// The key of the last entry of the part before, if this is not the first part.
    pub(crate) fn after<K: DeserializeOwned>(&self, sort: Sort) -> Result<Option<K>, ApiError> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
            let (by, descending, key): (String, bool, K) = serde_json::from_slice(&bytes).ok()?;
            (by == sort.by && descending == sort.descending).then_some(key)
        };
        read().map(Some).ok_or_else(|| {
            ApiError::bad_request(
                "bad_cursor",
                "the cursor is none of this list in this order",
                "give what next said, with the same sort and order; or leave it out to begin again",
            )
            .field("cursor")
        })
    }

    /// The part that was asked for, of a list that is in memory. `key` is unique and sorts as `sort` wants.
    pub(crate) fn part<T, K>(&self, sort: Sort, items: Vec<T>, key: impl Fn(&T) -> K) -> Result<Page<T>, ApiError>
    where
        K: Ord + Serialize + DeserializeOwned,
    {
        let after: Option<K> = self.after(sort)?;
        let mut items: Vec<(K, T)> = items.into_iter().map(|item| (key(&item), item)).collect();
        items.sort_by(|(a, _), (b, _)| if sort.descending { b.cmp(a) } else { a.cmp(b) });
        if let Some(after) = after {
            items.retain(|(key, _)| if sort.descending { *key < after } else { *key > after });
        }
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let next = items.last().filter(|_| more).map(|(key, _)| sort.cursor(key));
        Ok(Page { items: items.into_iter().map(|(_, item)| item).collect(), next })
    }
}

impl Sort {
    /// The cursor that goes on after the entry with this key.
    pub(crate) fn cursor(&self, key: &impl Serialize) -> String {
        // Keys are texts and numbers, which always become JSON.
        let json = serde_json::to_vec(&(self.by, self.descending, key)).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(json)
    }
}

/// How many entries of a list an answer shall have: what was asked for, if it may be.
pub(crate) fn limit(wanted: Option<usize>, default: usize, max: usize) -> Result<usize, ApiError> {
    match wanted {
        None => Ok(default),
        Some(wanted) if (1..=max).contains(&wanted) => Ok(wanted),
        Some(wanted) => Err(ApiError::bad_request(
            "bad_limit",
            format!("the limit {wanted} is not from 1 to {max}"),
            "ask for fewer, and for the next part with what next says",
        )
        .field("limit")),
    }
}

impl<S: Send + Sync, F: DeserializeOwned> FromRequestParts<S> for List<F> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let refused = |error: serde_urlencoded::de::Error| {
            ApiError::bad_request("bad_query", error.to_string(), "correct the query of the address")
        };
        let again = |pairs: &[(String, String)]| serde_urlencoded::to_string(pairs).unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).map_err(refused)?;
        let (shared, own): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| SHARED.contains(&name.as_str()));
        let paging: Paging = serde_urlencoded::from_str(&again(&shared)).map_err(refused)?;
        let filter: F = serde_urlencoded::from_str(&again(&own)).map_err(refused)?;
        let limit = limit(paging.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
        Ok(Self { limit, filter, cursor: paging.cursor, sort: paging.sort, order: paging.order })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        q: Option<String>,
    }

    const FIELDS: &[(&str, Direction)] = &[("name", Direction::Asc), ("size", Direction::Desc)];

    async fn list(query: &str) -> Result<List<Filter>, String> {
        let mut parts = Request::builder().uri(format!("/x?{query}")).body(()).unwrap().into_parts().0;
        List::from_request_parts(&mut parts, &()).await.map_err(|error| error.problem.code)
    }

    fn part(list: &List<Filter>, items: &[(&str, u32)]) -> Result<Page<(String, u32)>, String> {
        let items = items.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
        let sort = list.sort(FIELDS).map_err(|error| error.problem.code)?;
        let key = |item: &(String, u32)| if sort.by == "size" { (item.1, item.0.clone()) } else { (0, item.0.clone()) };
        list.part(sort, items, key).map_err(|error| error.problem.code)
    }

    #[tokio::test]
    async fn parts_make_the_whole_in_every_order_and_equal_values_lose_nothing() {
        let items = [("a", 1), ("b", 2), ("c", 1), ("d", 2), ("e", 1)];
        for (query, wanted) in
            [("", "abcde"), ("order=desc", "edcba"), ("sort=size", "dbeca"), ("sort=size&order=asc", "acebd")]
        {
            let (mut seen, mut cursor) = (String::new(), String::new());
            loop {
                let page = part(&list(&format!("limit=2&{query}{cursor}")).await.unwrap(), &items).unwrap();
                seen.extend(page.items.iter().map(|(name, _)| name.as_str()));
                let Some(next) = page.next else { break };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(seen, wanted, "{query}");
        }
    }

    #[tokio::test]
    async fn what_is_no_order_limit_cursor_or_filter_of_the_list_is_refused() {
        for (query, code) in
            [("limit=0", "bad_limit"), ("limit=1001", "bad_limit"), ("limit=x", "bad_query"), ("z=1", "bad_query")]
        {
            assert_eq!(list(query).await.unwrap_err(), code, "{query}");
        }
        assert_eq!(list("order=up").await.unwrap_err(), "bad_query");
        assert_eq!(part(&list("sort=colour").await.unwrap(), &[]).unwrap_err(), "bad_sort");
        assert_eq!(part(&list("cursor=zzz").await.unwrap(), &[]).unwrap_err(), "bad_cursor");
        let page = part(&list("limit=1").await.unwrap(), &[("a", 1), ("b", 2)]).unwrap();
        let other = list(&format!("limit=1&sort=size&cursor={}", page.next.unwrap())).await.unwrap();
        assert_eq!(part(&other, &[]).unwrap_err(), "bad_cursor");
        assert_eq!(list("q=a%20b").await.unwrap().filter.q.unwrap(), "a b");
    }
}
