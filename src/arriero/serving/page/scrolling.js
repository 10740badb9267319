// Keeps the newest words in sight, but only for those who are at the end already.

const NEAR = 48; // pixels from the end that still count as the end

/** `jump` is the button that leads back to the end; it shows only away from it. */
export function followEnd(scroller, content, jump) {
  let isFollowing = true;
  let lastTop = 0;

  function toEnd() {
    scroller.scrollTop = scroller.scrollHeight;
  }

  function distance() {
    return scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop;
  }

  scroller.addEventListener(
    "scroll",
    () => {
      // Text that grows below is no decision to leave the end; only scrolling up is one.
      const top = scroller.scrollTop;
      if (distance() < 2 || (distance() < NEAR && top > lastTop)) isFollowing = true;
      else if (top < lastTop) isFollowing = false;
      lastTop = top;
      jump.hidden = distance() < NEAR;
    },
    { passive: true },
  );
  const watcher = new ResizeObserver(() => {
    if (isFollowing) toEnd();
    jump.hidden = distance() < NEAR;
  });
  watcher.observe(scroller);
  watcher.observe(content);

  function follow() {
    isFollowing = true;
    toEnd();
  }

  jump.addEventListener("click", follow);
  return { follow };
}
