//! Tells what the transport refuses (a request over the size limit) in the services' own codes and details.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures::{TryFutureExt, future::MapOk};
use tonic::{
    Status,
    body::Body,
    codegen::{
        Service,
        http::{Request, Response},
    },
    server::NamedService,
};

use crate::error::close;

/// A generated service that answers only with the six codes.
#[derive(Debug, Clone)]
pub(crate) struct Closed<S>(pub(crate) S);

impl<S: NamedService> NamedService for Closed<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Closed<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = MapOk<S::Future, fn(Response<Body>) -> Response<Body>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request).map_ok(closed)
    }
}

/// A call that failed before it was answered has its status in the headers.
fn closed(response: Response<Body>) -> Response<Body> {
    let status = Status::from_header_map(response.headers());
    status.as_ref().and_then(close).map_or(response, Status::into_http)
}
