// Draws the last 120 values of a variable. Without this script, the page shows the value of its own moment.
'use strict';
for (const chart of document.querySelectorAll('[data-live]')) {
  const values = [], line = chart.querySelector('polyline'), label = chart.querySelector('.top');
  const now = document.querySelector('.now'), button = document.querySelector('[data-pause]');
  let paused = false;
  const draw = () => {
    const top = Math.max(...values, 1), low = Math.min(...values, 0);
    line.setAttribute('points', values.map((value, at) =>
      `${635 - (values.length - 1 - at) * 5},${(180 - 160 * (value - low) / (top - low)).toFixed(1)}`).join(' '));
    label.textContent = top;
  };
  const tick = async () => {
    if (paused || document.hidden) return;
    try {
      const answer = await fetch(chart.dataset.live, { cache: 'no-store' });
      if (!answer.ok) return;
      const value = (await answer.json()).value;
      now.textContent = value;
      if (typeof value !== 'number') return;
      values.push(value);
      if (values.length > 120) values.shift();
      draw();
    } catch { now.textContent = 'not reachable'; }
  };
  button.hidden = false;
  button.addEventListener('click', () => {
    paused = !paused;
    button.setAttribute('aria-pressed', paused);
    button.textContent = paused ? 'continue' : 'pause';
  });
  tick();
  setInterval(tick, 1000);
}
