//! A bounded number of threads for calls that block.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Runs jobs on blocking threads, with a deadline.
///
/// A call on a hung filesystem cannot be cancelled: it keeps its thread until it returns. So a hung
/// store costs a bounded number of threads, while all other requests are forwarded.
#[derive(Debug)]
pub(crate) struct BlockingPool {
    running: Arc<Semaphore>,
    /// One permit for each job that runs or is queued.
    places: Semaphore,
    /// The runtime whose threads run the jobs. Requests are served by several runtimes, each of
    /// which would keep idle threads of its own.
    runtime: Option<Handle>,
}

/// Why a job has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobError {
    /// The queue is full.
    Overload,
    /// The deadline passed; the job may still be running.
    Deadline,
    /// The job panicked.
    Panicked,
}

impl BlockingPool {
    /// Runs at most `running` jobs at once, and queues `waiting` more.
    pub(crate) fn new(running: usize, waiting: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(running)),
            places: Semaphore::new(running + waiting),
            runtime: Handle::try_current().ok(),
        }
    }

    /// Runs a job; fails if there is no result by the deadline.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JobError> {
        let _place = self.places.try_acquire().map_err(|_| JobError::Overload)?;
        let permit = tokio::time::timeout_at(deadline, self.running.clone().acquire_owned())
            .await
            .map_err(|_| JobError::Deadline)?
            .map_err(|_| JobError::Overload)?;
        let job = move || {
            let _permit = permit;
            job()
        };
        let job = match &self.runtime {
            Some(runtime) => runtime.spawn_blocking(job),
            None => tokio::task::spawn_blocking(job),
        };
        match tokio::time::timeout_at(deadline, job).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(JobError::Panicked),
            Err(_) => Err(JobError::Deadline),
        }
    }

    /// Runs an optional job: it is rejected if all threads are busy.
    pub(crate) async fn run_if_idle<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JobError> {
        if self.running.available_permits() == 0 {
            return Err(JobError::Overload);
        }
        self.run(Instant::now() + limit, job).await
    }
}

/// The number of threads for work that any client can cause: requests need some too.
pub(crate) fn half_of_the_processors() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    (processors / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const RUNNING: usize = 4;

    #[tokio::test]
    async fn a_hung_disk_costs_a_bounded_number_of_threads() {
        let workers = BlockingPool::new(RUNNING, 16);
        let (release, hung) = mpsc::channel::<()>();
        let hung = Arc::new(std::sync::Mutex::new(hung));
        let soon = || Instant::now() + Duration::from_millis(50);
        for _ in 0..RUNNING {
            let hung = hung.clone();
            let job = move || hung.lock().map(|hung| hung.recv().is_err()).ok();
            assert_eq!(workers.run(soon(), job).await, Err(JobError::Deadline));
        }
        assert_eq!(workers.run(soon(), || 1).await, Err(JobError::Deadline));
        let idle = workers.run_if_idle(Duration::from_millis(50), || 1).await;
        assert_eq!(idle, Err(JobError::Overload));
        drop(release);
        let later = Instant::now() + Duration::from_secs(30);
        assert_eq!(workers.run(later, || 1).await, Ok(1));
    }

    #[tokio::test]
    async fn beyond_the_queue_jobs_are_rejected() {
        let workers = BlockingPool::new(1, 1);
        let (release, hung) = mpsc::channel::<()>();
        let later = Instant::now() + Duration::from_secs(30);
        let job = move || hung.recv().is_err();
        let (first, second, third) = tokio::join!(
            workers.run(later, job),
            workers.run(later, || true),
            async {
                let third = workers.run(later, || true).await;
                drop(release);
                third
            }
        );
        assert_eq!((first, second), (Ok(true), Ok(true)));
        assert_eq!(third, Err(JobError::Overload));
    }

    #[tokio::test]
    async fn a_job_that_panics_has_no_result() {
        let workers = BlockingPool::new(1, 0);
        let later = Instant::now() + Duration::from_secs(30);
        let died = workers.run(later, || panic!("on purpose")).await;
        assert_eq!(died, Err::<(), _>(JobError::Panicked));
        assert_eq!(workers.run(later, || 1).await, Ok(1));
    }
}
